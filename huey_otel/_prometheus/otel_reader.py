"""OpenTelemetry's reader for Prometheus, shown on the page that we serve."""

import os
from collections.abc import Iterator
from typing import Any

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import REGISTRY, CollectorRegistry, Metric

from huey_otel._prometheus.claims import register


class ReaderOnPage(PrometheusMetricReader):
    """Its metrics are in *registry*, and it listens on no port of its own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # opentelemetry-exporter-prometheus 0.51b0 knows the default registry alone.
        super().__init__()
        collector = self._collector
        REGISTRY.unregister(collector)
        register(_InThisProcess(collector), registry)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing: what it collects here would be on the next page a second time."""
        return True


class _InThisProcess:
    """Shows nothing in a forked child, which has a reader of its own."""

    def __init__(self, collector: Any) -> None:
        self._collector = collector
        self._pid = os.getpid()

    def collect(self) -> Iterator[Metric]:
        """What the reader collects."""
        if os.getpid() == self._pid:
            yield from self._collector.collect()
