"""What Prometheus reads: its configuration, and rules made by `rules/`."""
