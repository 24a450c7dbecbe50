"""Storages: our own connections to a queue's Redis, and what a storage holds.

Owns how a Redis and a channel are named (`emitter`), how connections are made out of
the application's pool (`connections`), how they cope with servers that refuse commands
(`optional_commands`) or fail over (`failover`), and how many messages a storage holds
and how old they are (`contents`, `layouts`). May import `_wire`, `_options`, `_safety`
and the vocabulary. Begin reading in `emitter` or in `contents`.
"""
