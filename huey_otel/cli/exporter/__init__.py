"""`huey-otel exporter`: one page for Prometheus of all consumers of some queues.

`command` is the sub-command. `look` asks a Redis, once for each answer: for the
backlog of a queue (`backlog`) and for the pages that its consumers have left there
(`stored`). `merged` makes one page of theirs, `answers` is what is served. Nothing is
kept from one answer to the next, so a restart loses nothing.
"""
