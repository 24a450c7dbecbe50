"""OpenTelemetry: the providers of spans and metrics, exporters, and lost spans.

Owns which provider is used, how one is built from the environment, and what becomes
of spans at a fork, a kill and the end. May import `_wire`, `_options` and `_safety`;
never the other two outputs. Begin reading in `provider`, then `sdk_provider` and
`exporter`.
"""
