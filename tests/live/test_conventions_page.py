"""The conventions' metrics on a consumer's page, by OpenTelemetry's own reader."""

from collections.abc import Callable

import pytest

from runtime import otlp_receiver as otlp
from tests.live.processes import Consumer, Program, listening
from tests.live.scraping import metrics, samples, serves, value
from tests.support.programs import free_port
from tests.support.waiting import wait_until

QUICK = ("-d", "0.02", "-m", "0.1")
TASKS = 5


@pytest.mark.parametrize("exporters", ["prometheus", "otlp,prometheus"])
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_one_page_has_our_metrics_and_those_of_opentelemetrys_reader(
    kind: str,
    exporters: str,
    consumer: Callable[..., Consumer],
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path,
) -> None:
    port, other = free_port(), free_port()
    with otlp.receiver() as receiver:
        running = consumer(
            *(kind, "-w", "2", *QUICK),
            application="traced",
            HUEY_OTEL_METRICS_PORT=str(port),
            # The reader opens a port of its own.
            OTEL_EXPORTER_PROMETHEUS_PORT=str(other),
            HUEY_OTEL_SEMCONV_METRICS="1",
            OTEL_METRICS_EXPORTER=exporters,
            OTEL_TRACES_EXPORTER="none",
            **receiver.environ,
        )
        wait_until(lambda: serves(port))
        producer = Program(
            *("-m", "tests.live.apps.traced_web", "count", str(TASKS)),
            log=tmp_path / "producer.log",
            environ={"LIVE_QUEUE_URL": redis_url},
        )
        keep(producer)
        assert producer.wait() == 0
        wait_until(lambda: processed(port) == TASKS)
        page = metrics(port)
        ports = listening(running.pid)
        running.stop()
        told = {point.name for point in receiver.points}

    assert ports == {port}
    assert value(page, "huey_task_attempts_total") == TASKS
    series = [line for line in page.splitlines() if not line.startswith("#")]
    assert len(series) == len(samples(page))
    assert ("messaging.process.duration" in told) is ("otlp" in exporters)
    assert "Traceback" not in running.log


def processed(port: int) -> float | None:
    return value(metrics(port), "messaging_process_duration_seconds_count")
