"""Runs huey-otel: a consumer, a sample shop, a load for the shop, and a demo of all.

It imports `huey_otel`, never the reverse, and is not in the wheel. `python -m runtime`
lists its commands; begin with `consumer`.
"""
