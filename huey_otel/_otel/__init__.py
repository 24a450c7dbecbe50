"""OpenTelemetry: the provider of spans and of metrics, their exporters and losses.

Owns which provider is used, how one is built from the environment, and what becomes
of spans at a fork, a kill and the end. May import `_wire`, `_options` and `_safety`;
never the other two outputs. Begin reading in `provider`, then `exporter`.
"""
