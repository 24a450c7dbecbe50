"""What runs huey-otel: a consumer process, a sample shop, a load and a demo."""
