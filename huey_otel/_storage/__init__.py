"""Storages: our own connections to them, the channel's rule, and what they hold.

Owns how a connection of ours is made out of the application's pool, how huey's
storages keep messages, and what is cheap to ask of each. May import `_wire` and
`_safety`. Begin reading in `connections`, then `layouts`.
"""
