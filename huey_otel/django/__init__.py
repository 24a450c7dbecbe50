"""The Django application: all of it is its place in INSTALLED_APPS, and HUEY_OTEL."""
