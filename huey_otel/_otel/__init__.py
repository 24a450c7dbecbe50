"""OpenTelemetry: providers of spans, metrics and log records, exporters, our spans.

Owns which provider is used, how one is built from the environment, and what becomes
of spans at a fork, a kill and the end. May import `_wire`, `_options` and `_safety`;
never the other two outputs. Begin reading in `provider`, then `sdk_provider` and
`exporter`, for the spans in `spans`, then `light` and `attempt_spans`, for events as
log records in `event_logs`, then `logger_provider` and `sdk_logs`.
"""
