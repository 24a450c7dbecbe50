"""Tasks that fork: what their children do is told as well, and holds nothing up."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from huey_otel import _names as n
from tests.live.hearing import Hearing
from tests.live.processes import Consumer, losses
from tests.live.scraping import metrics, value
from tests.support.programs import free_port
from tests.support.waiting import wait_until

KINDS = ("thread", "process")
EACH = 10


@pytest.mark.parametrize("kind", KINDS)
def test_forks_under_load_are_told_once(
    kind: str,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    hearing: Hearing,
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
    wait_until(lambda: hearing.count("finished") >= total, seconds=60)
    page = metrics(port)
    assert running.stop() == 0

    ends = Counter(e["id"] for e in hearing.catch_up() if e["status"] == "finished")
    starts = Counter(e["id"] for e in hearing.events if e["status"] == "started")
    assert len(ends) == total
    assert starts == ends == Counter(set(ends))
    called = value(page, n.TASKS_ENQUEUED_TOTAL, origin="call")
    assert called == forks * EACH
    assert losses(tmp_path / "dropped") == {}


@pytest.mark.parametrize("kind", KINDS)
def test_fork_that_outlives_the_consumer_goes_on(
    kind: str,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    hearing: Hearing,
) -> None:
    app = application("forks")
    conn = app.huey.storage.conn
    running = consumer(kind, "-n", "-w", "1", application="forks")
    task = app.leave_a_child()
    assert conn.blpop("left", timeout=30) is not None

    assert len(hearing.gather(task.id, 2)) == 2
    running.wait_until_started()
    # huey 2 has no handler of SIGINT, and dies of one before its loop.
    wait_until(lambda: "huey-otel " in running.log)
    assert running.stop() == 0
    conn.lpush("go", 1)

    assert conn.blpop("done", timeout=30) is not None
    assert len(app.huey) == 1
    assert [event["status"] for event in hearing.of(task.id)] == [
        *("started", "finished")
    ]
