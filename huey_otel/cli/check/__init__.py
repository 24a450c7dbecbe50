"""`huey-otel check`: why a metric, an event or a trace is missing, and what to do.

`command` is the sub-command. `look` gathers the facts of a target, once: from a Redis
(`server`, `keys`, `messages`), from the application (`environment`) and from a
consumer's own pages (`pages`). Each finding is a function of those facts, in one of
the modules `of_...`; `codes` has what each one means and what to do about it.
"""
