"""The options of `instrument()`: one table, which all others read.

`table` has a row for each option; `instrument()`'s signature and help text, the
environment, Django's HUEY_OTEL, the README's table and the texts of errors are made
of it. `settings` merges arguments with the environment, `values` has the kinds of
values, `buckets` the histograms' bounds; `export` and `otel_variables` read
OpenTelemetry's own variables. May import `_safety` and the vocabulary. Begin reading in
`table`.
"""
