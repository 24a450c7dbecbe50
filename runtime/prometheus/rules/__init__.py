"""Makes recording rules, alerts and objectives for Prometheus of one TOML file.

`python -m runtime.prometheus.rules` lists what it takes; `defaults.toml` has every
setting. It needs the standard library alone.
"""
