"""The alerts on a real Prometheus, about consumers that things happen to."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.processes import Program
from tests.live.scraping import Prometheus, serves
from tests.support import ROOT, free_port, wait_until

Alert = tuple[str, ...]

ENQUEUE = "from runtime.shop.tasks import resize_photo; resize_photo('photo', 320, 60)"
LOST = ("HueyTasksLost", "firing", "shop", "runtime.shop.tasks.resize_photo")


@pytest.mark.timeout(90)
def test_alerts_tell_a_lost_task_and_a_scheduler_that_is_gone(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> None:
    environ = {"SHOP_REDIS_URL": redis_url}
    ports = (free_port(), free_port())

    def start(port: int, *options: str) -> Program:
        program = Program(
            *("-m", "runtime", "consumer", "runtime.shop.huey", "-c", "0.2", *options),
            log=tmp_path / f"consumer-{port}.log",
            environ=environ | {"HUEY_OTEL_METRICS_PORT": str(port)},
        )
        keep(program)
        return program

    scheduling = start(ports[0], "-k", "process", "-w", "1")
    wait_until(lambda: serves(ports[0]))
    producer = Program("-c", ENQUEUE, log=tmp_path / "producer.log", environ=environ)
    keep(producer)
    wait_until(lambda: "Executing" in scheduling.log)
    start(ports[1], "-k", "thread", "-w", "1", "--no-periodic")
    wait_until(lambda: serves(ports[1]))
    prometheus = Prometheus(
        tmp_path / "prometheus",
        *ports,
        interval="200ms",
        job="huey",
        rules=[ROOT / "runtime" / "prometheus" / "rules.yml"],
    )
    keep(prometheus)
    prometheus.wait_until_ready()

    def alerts(*labels: str) -> set[Alert]:
        series = prometheus.values("ALERTS", "alertname", "alertstate", *labels)
        return set(series)

    recorded = "queue:huey_queue_length:max + 1"
    wait_until(lambda: prometheus.values("count(up == 1)") == {(): 2})
    wait_until(lambda: bool(prometheus.values(recorded)))
    assert alerts() == set()

    os.kill(worker_of(scheduling), signal.SIGKILL)

    wait_until(lambda: alerts("queue", "task") == {LOST})

    scheduling.kill()

    gone = {
        ("HueyConsumerDown", "pending", f"127.0.0.1:{ports[0]}", ""),
        ("HueyNoScheduler", "pending", "", "shop"),
        ("HueyTasksLost", "firing", "", "shop"),
    }
    wait_until(lambda: alerts("instance", "queue") == gone)


def worker_of(consumer: Program) -> int:
    """The process that runs the one task; the scheduler started before it did."""
    _scheduler, worker = consumer.children()
    return worker
