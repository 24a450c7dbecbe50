"""Tasks that fork: telemetry of their children arrives, and they block nothing."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import redis

from huey_otel import _names as n
from tests.live.processes import Consumer, losses
from tests.live.received_events import ReceivedEvents
from tests.live.scraping import metrics, value
from tests.support.programs import free_port
from tests.support.waiting import wait_to_read, wait_until

KINDS = ("thread", "process")
EACH = 10


@pytest.mark.parametrize("kind", KINDS)
def test_tasks_that_fork_under_load_are_reported_once(
    kind: str,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    tmp_path: Path,
) -> None:
    app = application("forks")
    port = free_port()
    running = consumer(
        *(kind, "-n", "-w", "4"),
        application="forks",
        HUEY_OTEL_METRICS_PORT=str(port),
        LIVE_DROPPED=str(tmp_path / "dropped"),
    )
    forks = 40
    for number in range(forks):
        app.fork(EACH)
        for _ in range(EACH):
            app.add(number, 1)

    total = forks * (1 + 2 * EACH)
    wait_until(lambda: received.count("finished") >= total, seconds=120)
    # What the forked children did comes by another way than their tasks' ends.
    wait_to_read(
        lambda: value(metrics(port), n.TASKS_ENQUEUED_TOTAL, origin="call"),
        forks * EACH,
    )
    assert running.stop() == 0

    ends = Counter(e["id"] for e in received.catch_up() if e["status"] == "finished")
    starts = Counter(e["id"] for e in received.events if e["status"] == "started")
    assert len(ends) == total
    assert starts == ends == Counter(set(ends))
    assert losses(tmp_path / "dropped") == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_that_outlives_the_consumer_goes_on(
    kind: str,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    conn: redis.Redis,
) -> None:
    app = application("forks")
    running = consumer(kind, "-n", "-w", "1", application="forks")
    task = app.leave_a_child()
    assert conn.blpop("left", timeout=60) is not None

    assert len(received.wait_for(task.id, 2)) == 2
    running.wait_until_started()
    # huey 2 dies of a SIGINT before its loop: it has no handler yet.
    wait_until(lambda: "huey-otel " in running.log)
    assert running.stop() == 0
    conn.lpush("go", 1)

    assert conn.blpop("done", timeout=60) is not None
    assert len(app.huey) == 1
    assert [event["status"] for event in received.of(task.id)] == [
        *("started", "finished")
    ]
