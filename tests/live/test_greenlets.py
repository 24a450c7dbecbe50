"""Consumers with greenlets, whenever gevent patches."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from runtime import otlp_receiver as otlp
from tests.live.processes import Consumer, Program, losses
from tests.live.received_events import ReceivedEvents
from tests.support.waiting import wait_until

WORKERS = 8
PATCHES = ("first", "after the import")
Start = Callable[..., Consumer]


@pytest.fixture
def app(application: Callable[..., ModuleType]) -> ModuleType:
    return application("greenlets")


@pytest.fixture
def start(consumer: Callable[..., Consumer]) -> Start:
    """Starts a consumer of greenlets that gevent patches at *patch*."""

    def start(patch: str = "first", **environ: str) -> Consumer:
        return consumer(
            *("greenlet", "-n", "-w", str(WORKERS)),
            application="greenlets",
            LIVE_PATCH=patch,
            **environ,
        )

    return start


@pytest.mark.parametrize("when", [*PATCHES, "after instrument", "after the first use"])
def test_what_greenlets_enqueue_is_not_mixed_up(
    when: str, keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> None:
    used = when == "after the first use"
    program = Program(
        *("-W", "ignore", "-m", "tests.live.apps.greenlets_web"),
        *(["used"] if used else []),
        log=tmp_path / "log",
        environ={"LIVE_QUEUE_URL": redis_url, "LIVE_PATCH": when},
    )
    keep(program)

    assert program.wait() == 0
    assert json.loads(program.log.splitlines()[-1]) == {
        "queued": 400 + used,
        "counted": 400 + used,
        "right": True,
        "lost": {},
        "delivered": True,
    }


@pytest.mark.parametrize("when", PATCHES)
def test_each_step_in_greenlets_is_reported_once(
    when: str,
    app: ModuleType,
    start: Start,
    received: ReceivedEvents,
    tmp_path: Path,
) -> None:
    tasks = [app.add(number, 1).id for number in range(300)]
    dropped = tmp_path / "dropped"
    running = start(when, LIVE_DROPPED=str(dropped))

    wait_until(lambda: received.count("finished") == len(tasks))
    running.wait_until_started()
    assert running.stop() == 0

    steps = Counter((e["status"], e["id"]) for e in received.catch_up())
    assert steps == Counter(
        (status, task)
        for status in ("enqueued", "started", "finished")
        for task in tasks
    )
    workers = {e["worker"] for e in received.events if e["status"] == "started"}
    assert workers <= {f"Worker-{number + 1}" for number in range(WORKERS)}
    assert losses(dropped) == {}


def test_timeouts_of_greenlets_are_honoured_while_their_tasks_enqueue(
    app: ModuleType, start: Start, received: ReceivedEvents
) -> None:
    if not app.TIMED:
        pytest.skip("huey has timeouts from 3.0 on")
    tasks = {app.enqueue_for_ever().id for _ in range(100)}
    running = start()

    wait_until(lambda: received.count("timeout") == len(tasks), seconds=90)
    running.wait_until_started()
    assert running.stop() == 0

    ends = Counter(e["id"] for e in received.catch_up() if e["status"] == "timeout")
    assert ends == Counter(tasks)


def test_collector_that_never_answers_stops_no_greenlet(
    app: ModuleType, start: Start, received: ReceivedEvents, tmp_path: Path
) -> None:
    dropped = tmp_path / "dropped"
    with otlp.black_hole(otlp.GRPC) as silent:
        running = start(
            # Longer than any wait of this test.
            OTEL_EXPORTER_OTLP_TIMEOUT="100",
            OTEL_BSP_SCHEDULE_DELAY="10",
            HUEY_OTEL_FLUSH_TIMEOUT="1",
            LIVE_DROPPED=str(dropped),
            **silent.environ,
        )
        for number in range(20):
            task = app.add(number, 1)
            assert len(received.wait_for(task.id, 3)) == 3
        running.wait_until_started()
        assert running.stop() == 0

    assert losses(dropped) == {"spans": 20}


def test_greenlets_that_live_on_in_a_child_are_quiet_there(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> None:
    program = Program(
        *("-W", "ignore", "-m", "tests.live.apps.greenlets_web", "fork"),
        log=tmp_path / "log",
        environ={"LIVE_QUEUE_URL": redis_url, "LIVE_PATCH": "first"},
    )
    keep(program)

    assert program.wait() == 0
    (line,) = program.log.splitlines()
    assert json.loads(line) == {
        "queued": 410,
        "counted": 410,
        "right": True,
        "lost": {},
        "delivered": True,
    }
