"""`opentelemetry-instrument` of each supported version: restarts, first requests."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from runtime import otlp_receiver as otlp
from tests.live.processes import HUEY_CONSUMER, Program
from tests.live.scraping import serves
from tests.support.programs import free_port
from tests.support.waiting import wait_until

COMMAND = str(Path(sys.executable).with_name("opentelemetry-instrument"))
APPLICATION = "tests.live.apps.not_instrumented"
# What `opentelemetry-distro` sets up, and an environment without it.
DISTRO = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
BARE = {"OTEL_PYTHON_DISTRO": "none", "OTEL_PYTHON_CONFIGURATOR": "none"}

Keep = Callable[[Program], Program]


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("environ", [BARE, DISTRO], ids=["alone", "distro"])
def test_a_consumer_that_sighup_restarts_is_observed_as_before(
    environ: dict[str, str], kind: str, keep: Keep, redis_url: str, tmp_path: Path
) -> None:
    port = free_port()
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as conn:
        everywhere = {
            **environ,
            **receiver.environ,
            "LIVE_QUEUE_URL": redis_url,
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis",
        }
        consumer = Program(
            *(sys.executable, *HUEY_CONSUMER, f"{APPLICATION}.huey"),
            *("-k", kind, "-w", "1", "-n", "-d", "0.02", "-m", "0.1"),
            log=tmp_path / "consumer.log",
            environ={**everywhere, "HUEY_OTEL_METRICS_PORT": str(port)},
            executable=COMMAND,
        )
        keep(consumer)

        def runs(number: int) -> None:
            wait_until(lambda: serves(port))
            producer = Program(
                *(sys.executable, "-m", APPLICATION, "1"),
                log=tmp_path / f"producer-{number}.log",
                environ=everywhere,
                executable=COMMAND,
            )
            keep(producer)
            assert producer.wait() == 0
            wait_until(lambda: conn.get("done") == str(number).encode())

        runs(1)
        consumer.send(signal.SIGHUP)
        wait_until(lambda: consumer.log.count("Consumer will restart") == 1)
        wait_until(lambda: consumer.log.count("huey-otel 0.") == 2)
        runs(2)
        consumer.send(signal.SIGHUP)
        wait_until(lambda: consumer.log.count("huey-otel 0.") == 3)
        runs(3)
        assert consumer.stop(signal.SIGTERM) == 0

        names = sorted(span.name.split()[0] for span in receiver.spans)
    assert names == [*["enqueue"] * 3, *["process"] * 3]
