"""A collector, and a registry that shows it."""

import pytest
from prometheus_client import CollectorRegistry

from huey_otel._prometheus.collector import Collector


@pytest.fixture
def collector() -> Collector:
    return Collector()


@pytest.fixture
def registry(collector: Collector) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(collector)
    return made
