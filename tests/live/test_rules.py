"""The alerts on a real Prometheus, for consumers with real failures."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.live.processes import Program
from tests.live.scraping import Prometheus, serves
from tests.support.dashboards import Query
from tests.support.programs import ROOT, free_port
from tests.support.waiting import wait_to_read, wait_until

pytestmark = pytest.mark.once

Alert = tuple[str, ...]

ENQUEUE = "from runtime.shop.tasks import resize_photo; resize_photo('photo', 320, 600)"
RULES = ROOT / "runtime" / "prometheus" / "rules.yml"

# Three tasks for as many workers, and five that wait.
ENQUEUE_EIGHT = """
from runtime.shop.tasks import resize_photo
for seconds in [600] * 3 + [0] * 5:
    resize_photo('photo', 320, seconds)
"""
LOST = ("HueyTasksLost", "firing", "shop", "runtime.shop.tasks.resize_photo")


def test_alerts_fire_for_a_lost_task_and_a_missing_scheduler(
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
        job="huey",
        rules=[RULES],
    )
    keep(prometheus)
    prometheus.wait_until_ready()

    def alerts(*labels: str) -> set[Alert]:
        series = prometheus.values("ALERTS", "alertname", "alertstate", *labels)
        return set(series)

    recorded = "queue:huey_queue_length:max + 1"
    wait_until(lambda: prometheus.values("count(up == 1)") == {(): 2})
    wait_until(lambda: bool(prometheus.values(recorded)))
    # In the very first scrapes no scheduler has checked yet.
    wait_until(lambda: alerts() == set())

    os.kill(worker_of(scheduling), signal.SIGKILL)

    wait_until(lambda: alerts("queue", "task") == {LOST})

    scheduling.kill()

    gone = {
        ("HueyConsumerDown", "pending", f"127.0.0.1:{ports[0]}", ""),
        ("HueyNoScheduler", "pending", "", "shop"),
        ("HueyTasksLost", "firing", "", "shop"),
    }
    wait_until(lambda: alerts("instance", "queue") == gone)


def test_three_consumers_of_a_queue_of_five_all_show_five(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> None:
    environ = {"SHOP_REDIS_URL": redis_url}
    ports = (free_port(), free_port(), free_port())
    for port in ports:
        program = Program(
            *("-m", "runtime", "consumer", "runtime.shop.huey", "-w", "1"),
            "--no-periodic",
            log=tmp_path / f"consumer-{port}.log",
            environ=environ | {"HUEY_OTEL_METRICS_PORT": str(port)},
        )
        keep(program)
    for port in ports:
        wait_until(partial(serves, port))
    text = RULES.read_text()
    eager = text.replace("> 100\n        for: 10m\n", "> 4\n")
    assert eager != text
    (tmp_path / "rules.yml").write_text(eager)
    prometheus = Prometheus(
        *(tmp_path / "prometheus", *ports),
        job="huey",
        rules=[tmp_path / "rules.yml"],
    )
    keep(prometheus)
    prometheus.wait_until_ready()

    keep(Program("-c", ENQUEUE_EIGHT, log=tmp_path / "producer.log", environ=environ))

    said = {
        "sum(huey_tasks_in_progress)": 3,
        "count(huey_queue_length)": 3,
        "sum(huey_queue_length)": 15,
        "queue:huey_queue_length:max": 5,
        panel("Pending"): 5,
        panel("Backlog"): 5,
    }
    wait_until(lambda: {q: prometheus.values(q).get(()) for q in said} == said)
    oldest = "queue:huey_queue_oldest_age_seconds:max"
    wait_until(lambda: prometheus.values(oldest).get((), 0) > 1)

    def backlogs() -> list[tuple[str, str, float]]:
        return [
            (alert["annotations"]["summary"], alert["state"], float(alert["value"]))
            for alert in prometheus.alerts()
            if alert["labels"]["alertname"] == "HueyBacklog"
        ]

    wait_to_read(backlogs, [("5 tasks wait on the queue shop", "firing", 5)])


def panel(title: str) -> str:
    """The first query of a panel of the overview."""
    return Query("overview", title).text(queue="shop")


def test_two_schedulers_are_seen_by_what_they_enqueue_twice(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> None:
    ports = (free_port(), free_port())
    for port in ports:
        program = Program(
            *("-m", "runtime", "consumer", "runtime.shop.huey", "-w", "1"),
            log=tmp_path / f"consumer-{port}.log",
            environ={
                "SHOP_REDIS_URL": redis_url,
                "SHOP_REPORT": "every-minute",
                "HUEY_OTEL_METRICS_PORT": str(port),
            },
        )
        keep(program)
    for port in ports:
        wait_until(partial(serves, port))
    prometheus = Prometheus(*(tmp_path / "prometheus", *ports), rules=[RULES])
    keep(prometheus)
    prometheus.wait_until_ready()

    report = '{task="runtime.shop.tasks.nightly_report"}'
    schedulers = 'count by (queue) (huey_consumer_info{periodic="true"})'
    enqueued = 'sum(huey_tasks_enqueued_total{origin="periodic"})'
    interval = f"max(huey_periodic_task_interval_seconds{report})"
    next_run = f"huey_periodic_task_next_run_timestamp_seconds{report}"
    # When it was scraped.
    ahead = f"max({next_run} - timestamp({next_run}))"

    # Both look as soon as they start.
    wait_until(lambda: prometheus.values(enqueued).get((), 0) >= 2)
    wait_to_read(lambda: prometheus.values(schedulers, "queue"), {("shop",): 2})
    wait_to_read(lambda: prometheus.values(interval), {(): 60})
    # A scrape takes a second at most.
    wait_until(lambda: 0 < prometheus.values(ahead).get((), 0) <= 61)
    recorded = "queue_task:huey_periodic_task_next_run_timestamp_seconds:max"
    minutes = f"{recorded}{report} % 60"
    wait_until(lambda: bool(prometheus.values(f"{minutes} + 1")))
    assert prometheus.values(minutes) == {}


def worker_of(consumer: Program) -> int:
    """The process that runs the one task; the scheduler started before it did."""
    _scheduler, worker = consumer.children()
    return worker
