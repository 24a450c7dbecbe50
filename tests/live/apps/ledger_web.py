"""Enqueues tasks of `ledger` as a web process would, and shows its own page."""

import os

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest, multiprocess

from tests.live.apps.ledger import fail, succeed

for _ in range(3):
    succeed()
fail.schedule(delay=60)

if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    # A web server of several processes has this in place of the default registry.
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
else:
    registry = REGISTRY
print(generate_latest(registry).decode())  # noqa: T201
