"""A consumer that lives and does nothing: when `/healthz?stuck=` says so, and when not.

Limits are a second, so the scheduler's is three: two of its intervals more.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import redis
from huey.consumer_options import ConsumerConfig

from tests.live.processes import Consumer
from tests.live.scraping import fetch, metrics, samples, serves, url_of, value
from tests.support.forwarder import Mute
from tests.support.programs import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_to_read, wait_until

KINDS = ("thread", "process", "greenlet")
LONG = 6.0
"""Seconds: longer than any limit here, with the second look that confirms it."""

Answer = tuple[int, str]
OK = (200, "ok\n")
RECYCLES = hasattr(ConsumerConfig, "max_tasks")
FINE = {"dequeue": 0, "worker": 0, "scheduler": 0}

Application = Callable[..., ModuleType]
Start = Callable[..., Consumer]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(consumer: Start, port: int) -> Start:
    """Starts a consumer of `hanging`; returns when its page is at `port`."""

    def start(kind: str, *options: str, **given: str) -> Consumer:
        settings = {"HUEY_OTEL_METRICS_PORT": str(port), "HUEY_OTEL_STUCK_AFTER": "1"}
        if kind == "greenlet":
            settings["LIVE_PATCH"] = "first"
        running = consumer(kind, *options, application="hanging", **(settings | given))
        wait_until(lambda: serves(port))
        running.wait_until_started()
        return running

    return start


def asked(port: int, query: str = "stuck=1") -> Answer:
    return fetch(url_of(port, f"/healthz?{query}"))


def watched(port: int, query: str = "stuck=1", seconds: float = LONG) -> set[Answer]:
    """All answers within *seconds*."""
    until = time.monotonic() + seconds
    seen = set()

    def over() -> bool:
        seen.add(asked(port, query))
        return time.monotonic() > until

    wait_until(over)
    return seen


def unwell(port: int, query: str = "stuck=1") -> str:
    """Wait until it is stuck; why it is, without numbers of seconds."""
    wait_until(lambda: asked(port, query)[0] == 503)
    words = asked(port, query)[1].split()
    return " ".join("N" if word.isdecimal() else word for word in words)


def shown(port: int) -> dict[str, float]:
    """What huey_consumer_stuck says, by reason."""
    return {
        dict(labels)["reason"]: value
        for (name, labels), value in samples(metrics(port)).items()
        if name == "huey_consumer_stuck"
    }


@pytest.fixture
def way(redis_server: RedisServer) -> Iterator[Mute]:
    with Mute(redis_server.port) as way:
        yield way


@pytest.mark.parametrize("kind", KINDS)
def test_worker_that_hangs_in_dequeue_is_stuck_while_messages_wait(
    kind: str, start: Start, port: int, way: Mute, application: Application
) -> None:
    start(kind, "-w", "1", url=way.patient_url)

    way.word = b"BRPOP"
    empty = watched(port), shown(port)
    application("hanging").work()
    why = unwell(port)

    assert empty == ({OK}, FINE)
    assert why == "stuck, hangs in dequeue, while messages wait: Worker-1 for N s"
    assert asked(port, "stuck=600") == asked(port, "") == OK
    wait_to_read(lambda: shown(port), FINE | {"dequeue": 1})


@pytest.mark.proof_but("thread")
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_worker_that_never_looks_again_is_stuck(
    kind: str, start: Start, port: int, application: Application, tmp_path: Path
) -> None:
    asleep = tmp_path / "asleep"
    start(kind, "-w", "1", "-m", "0.1", LIVE_QUEUE="polling", LIVE_ASLEEP=str(asleep))

    asleep.touch()
    began = time.monotonic()
    application("hanging", LIVE_QUEUE="polling").work()
    before = watched(port, seconds=55)
    why = unwell(port)

    assert before == {OK}
    assert time.monotonic() - began > 61
    assert why == "stuck, does not look for messages any more: Worker-1 for N s"
    wait_to_read(lambda: shown(port), FINE | {"worker": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_scheduler_that_hangs_is_stuck(
    kind: str, start: Start, port: int, way: Mute
) -> None:
    start(kind, "-w", "1", "-n", url=way.patient_url)

    way.word = b"EVALSHA"
    why = unwell(port)

    assert why == "stuck, does not look at the schedule any more: Scheduler for N s"
    assert asked(port, "stuck=600") == OK
    wait_to_read(lambda: shown(port), FINE | {"scheduler": 1})


@pytest.mark.skipif(
    not RECYCLES, reason="the scheduler of huey 2 stops the greenlets instead"
)
def test_scheduler_beside_greenlets_that_nobody_patched_is_stuck(
    start: Start, port: int
) -> None:
    start("greenlet", LIVE_PATCH="")

    why = unwell(port)

    assert why == "stuck, does not look at the schedule any more: Scheduler for N s"


@pytest.mark.proof_but("thread", "process")
@pytest.mark.parametrize("kind", KINDS)
def test_workers_that_are_in_one_task_each_are_stuck_where_that_is_asked(
    kind: str, start: Start, port: int, application: Application
) -> None:
    app = application("hanging")
    start(kind, "-w", "2")

    app.last(60)
    one = watched(port, "stuck=1&busy=1", seconds=3)
    app.last(60)
    app.work()
    why = unwell(port, "stuck=1&busy=1")

    assert one == {OK}
    assert why == (
        "stuck, is in one task, as all workers are: Worker-1 for N s, Worker-2 for N s"
    )
    assert asked(port, "stuck=1&busy=600") == OK
    assert (watched(port), shown(port)) == ({OK}, FINE)


@pytest.mark.proof_but(
    *("blocking-thread", "priority-process", "polling-process", "sqlite-thread"),
    *("no workers-thread", "blocking-greenlet"),
)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("queue", "options"),
    [
        ("blocking", ()),
        ("priority", ("-n",)),
        # Its workers sleep for longer than they are watched.
        ("polling", ("-d", "20", "-m", "20")),
        ("sqlite", ("-d", "20", "-m", "20", "-s", "3")),
        ("blocking", ("-w", "0")),
    ],
    ids=["blocking", "priority", "polling", "sqlite", "no workers"],
)
def test_idle_consumer_is_not_stuck(
    kind: str,
    queue: str,
    options: tuple[str, ...],
    start: Start,
    port: int,
    tmp_path: Path,
) -> None:
    database = str(tmp_path / "huey.db")
    start(kind, *options, LIVE_QUEUE=queue, LIVE_DATABASE=database)

    assert watched(port, "stuck=1&busy=1") == {OK}
    assert shown(port) == FINE


@pytest.mark.proof_but("blocking-process", "polling-thread")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("queue", ["blocking", "polling"])
def test_paused_workers_are_not_stuck(
    kind: str,
    queue: str,
    start: Start,
    port: int,
    application: Application,
    tmp_path: Path,
) -> None:
    pause = tmp_path / "pause"
    pause.touch()
    start(kind, "-w", "2", LIVE_QUEUE=queue, LIVE_PAUSE=str(pause))
    app = application("hanging")
    for _ in range(5):
        app.work()

    assert watched(port, "stuck=1&busy=1") == {OK}
    assert len(app.huey) == 5


@pytest.mark.proof_but("thread", "process")
@pytest.mark.parametrize("kind", KINDS)
def test_long_tasks_are_not_stuck_while_others_wait(
    kind: str, start: Start, port: int, application: Application
) -> None:
    app = application("hanging")
    start(kind, "-w", "1")
    app.last(LONG)
    app.work()
    app.work()

    assert watched(port, seconds=LONG + 1) == {OK}
    wait_until(lambda: len(app.huey) == 0)


@pytest.mark.proof_but("process")
@pytest.mark.parametrize("kind", KINDS)
def test_storage_that_is_away_makes_nobody_stuck(
    kind: str,
    start: Start,
    port: int,
    redis_server: RedisServer,
    application: Application,
) -> None:
    app = application("hanging")
    start(kind, "-w", "2", url=f"{redis_server.url}?socket_timeout=3600")
    app.last(1)

    redis_server.pause()
    paused = watched(port)
    redis_server.resume()
    resumed = watched(port)
    redis_server.kill()
    killed = watched(port)
    redis_server.start()
    started = watched(port)
    app.work()

    assert (paused, resumed, killed, started) == ({OK}, {OK}, {OK}, {OK})
    wait_until(lambda: len(app.huey) == 0)


@pytest.mark.proof_but("thread")
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_scheduler_that_moves_many_ripe_tasks_is_not_stuck(
    kind: str, start: Start, port: int, application: Application
) -> None:
    app = application("hanging")
    start(kind, "-w", "0")
    app.put_off(40_000)
    wait_until(lambda: app.huey.scheduled_count() == 0)
    began = time.monotonic()

    assert watched(port) == {OK}
    wait_until(lambda: len(app.huey) == 40_000, seconds=120)
    # It has moved them for longer than it may be silent.
    assert time.monotonic() - began > 3


@pytest.mark.proof_but("process")
@pytest.mark.parametrize("kind", KINDS)
def test_consumer_that_was_stopped_and_resumed_is_not_stuck(
    kind: str, start: Start, port: int, application: Application
) -> None:
    app = application("hanging")
    running = start(kind, "-w", "2")
    # Both workers are in a task for less than the limit, and then in dequeue.
    app.last(3)
    app.last(3)
    query = "stuck=1&busy=4"
    wait_until(lambda: value(metrics(port), "huey_workers_busy") == 2)

    stopped(running, LONG)
    in_tasks = watched(port, query)
    stopped(running, LONG, meanwhile=app.work)
    in_dequeue = watched(port, query)

    assert (in_tasks, in_dequeue) == ({OK}, {OK})
    wait_until(lambda: len(app.huey) == 0)


def stopped(
    running: Consumer, seconds: float, meanwhile: Callable[[], object] = int
) -> None:
    """Stop the consumer with all of its processes for *seconds*."""
    until = time.monotonic() + seconds
    os.killpg(running.pid, signal.SIGSTOP)
    for _ in range(5):
        meanwhile()
    wait_until(lambda: time.monotonic() > until)
    os.killpg(running.pid, signal.SIGCONT)


@pytest.mark.skipif(not RECYCLES, reason="huey 2 recycles no workers")
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_recycled_workers_are_not_stuck(
    kind: str, start: Start, port: int, application: Application
) -> None:
    app = application("hanging")
    start(kind, "-w", "2", "-M", "1", "-c", "3")
    for _ in range(6):
        app.work()

    assert watched(port, "stuck=1&busy=1") == {OK}


def test_worker_that_was_stopped_alone_is_stuck_until_it_goes_on(
    start: Start, port: int, conn: redis.Redis, application: Application
) -> None:
    running = start("process", "-w", "1")
    _scheduler, worker = running.children()

    os.kill(worker, signal.SIGSTOP)
    # Redis gives the first one to the worker, whose connection still asks.
    app = application("hanging")
    app.work()
    app.work()
    why = unwell(port)
    os.kill(worker, signal.SIGCONT)

    assert why == "stuck, hangs in dequeue, while messages wait: Worker-1 for N s"
    wait_until(lambda: asked(port) == OK)
