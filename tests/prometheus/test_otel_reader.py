"""OpenTelemetry's reader for Prometheus on our page, beside the application's own."""

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from huey_otel._prometheus.claims import restricted
from huey_otel._prometheus.otel_reader import ReaderOnPage
from huey_otel._safety.losses import Losses

SECONDS = "messaging_process_duration_seconds"


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    provider = MeterProvider([ReaderOnPage(made)], shutdown_on_exit=False)
    meter = provider.get_meter("tests")
    meter.create_histogram("messaging.process.duration", "s").record(0.5)
    return made


def names(page: str) -> list[str]:
    return [line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")]


def test_its_metrics_are_on_the_page(registry: CollectorRegistry) -> None:
    page = generate_latest(registry).decode()

    assert sorted(names(page)) == [SECONDS, "target_info"]


def test_a_metric_of_the_applications_keeps_its_name(
    registry: CollectorRegistry, losses: Losses
) -> None:
    Gauge(SECONDS, "The application's.", registry=registry).set(3)

    page = generate_latest(registry).decode()

    assert sorted(names(page)) == [SECONDS, "target_info"]
    assert f"{SECONDS} 3.0" in page
    assert losses.counts() == {"internal": 1}


def test_its_metrics_are_found_by_name(registry: CollectorRegistry) -> None:
    (found,) = restricted(registry, [f"{SECONDS}_count"])

    assert [(one.name, one.value) for one in found.samples] == [(f"{SECONDS}_count", 1)]
