"""A load for the shop, with a ledger of the events that its tasks must produce.

`cases` are the kinds of work, `mix` draws some of them, `run` enqueues them, and
`ledger` compares the expected events with those seen.
"""
