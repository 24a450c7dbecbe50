"""The Django application: an entry in INSTALLED_APPS, and the setting HUEY_OTEL.

Owns how Django's settings and its queues become calls of `instrument`. May import
every package. Begin reading in `apps`.
"""
