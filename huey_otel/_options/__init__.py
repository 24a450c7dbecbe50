"""The options of `instrument()`: one table, from which everybody else takes them.

`table` has a row for each option; `instrument()`'s signature and help text, the
environment, Django's HUEY_OTEL, the README's table and the texts of errors are made
of it. `settings` merges arguments with the environment, `values` knows what a single
value may look like; `otel` and `standard` read OpenTelemetry's own variables. May
import `_safety`. Begin reading in `table`.
"""
