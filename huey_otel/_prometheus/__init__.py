"""Prometheus: the catalog of metrics, their counts, the page and its endpoint.

Owns everything on `/metrics` and `/healthz`. May import `_storage`, which queue
gauges ask, and all below; never the other two outputs. Begin reading in `catalog`;
a record goes on through `collector`, `series` and `exposition` to `endpoint`.
"""
