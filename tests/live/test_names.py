"""Metrics that the application declares under our names while it runs."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.processes import Consumer, Program
from tests.live.received_events import ReceivedEvents
from tests.live.scraping import fetch, metrics, samples, serves, url_of
from tests.support.programs import free_port, missing
from tests.support.waiting import wait_until

OPENMETRICS = "application/openmetrics-text"
NOT_SHOWN = "of huey-otel is not shown; give instrument() a registry="


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_task_and_a_hook_may_declare_metrics_with_our_names(
    kind: str,
    consumer: Callable[..., Consumer],
    keep: Callable[[Program], Program],
    received: ReceivedEvents,
    redis_url: str,
    tmp_path: Path,
) -> None:
    port = free_port()
    started = consumer(
        *(kind, "-w", "1", "-n"),
        application="name_clashes",
        HUEY_OTEL_METRICS_PORT=str(port),
    )
    wait_until(lambda: serves(port))
    producer = Program(
        *("-m", "tests.live.apps.name_clashes"),
        log=tmp_path / "producer.log",
        environ={"LIVE_QUEUE_URL": redis_url},
    )
    keep(producer)
    assert producer.wait() == 0

    wait_until(lambda: len(received.events) == 4)
    page, strict = metrics(port), fetch(url_of(port), Accept=OPENMETRICS)[1]
    said, of_producer = producer.log.split("----\n")
    assert started.stop() == 0

    assert sorted(event["status"] for event in received.events) == [
        *("finished", "finished", "started", "started")
    ]
    # A metric declared in a forked worker is on no page and changes none of ours.
    theirs = {"thread": {"huey_queue_length": 7.0, "huey_workers": 0.0}, "process": {}}
    assert {
        name: number
        for (name, labels), number in samples(page).items()
        if name in ("huey_queue_length", "huey_workers") and not labels
    } == theirs[kind]
    assert started.log.count(NOT_SHOWN) == len(theirs[kind])
    assert samples(of_producer)["huey_tasks_enqueued_total", frozenset()] == 7
    assert said.count(NOT_SHOWN) == 1
    assert len(families(strict)) == len(set(families(strict))) > 30
    assert all(pleases_promtool(text) for text in (page, of_producer))


def families(page: str) -> list[str]:
    return re.findall(r"^# TYPE (\S+)", page, re.MULTILINE)


def pleases_promtool(page: str) -> bool:
    promtool = shutil.which("promtool") or missing("promtool")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=page, capture_output=True, text=True
    )
    return "error while linting" not in done.stderr
