"""Killed workers and consumers: each loss is reported, and nothing twice."""

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from huey.consumer_options import ConsumerConfig

from tests.live.processes import Consumer, alive, losses
from tests.live.received_events import ReceivedEvents
from tests.support.waiting import wait_until

KINDS = ("thread", "process")
ENDS = ("finished", "error-task", "lost", "interrupted")


class Ledger:
    """The lines that tasks wrote, by the number of the task."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def numbers(self, word: str) -> Counter[int]:
        if not self._path.exists():
            return Counter()
        # The last line may not be complete yet.
        whole, _, _ = self._path.read_text().rpartition("\n")
        lines = [line.split() for line in whole.splitlines()]
        return Counter(int(number) for number, what in lines if what == word)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.fixture
def app(application: Callable[..., ModuleType], tmp_path: Path) -> ModuleType:
    return application("kills", LIVE_LEDGER=str(tmp_path / "ledger"))


def recycling() -> tuple[str, ...]:
    """The option that replaces a worker after 50 tasks, where huey has it."""
    return ("-M", "50") if hasattr(ConsumerConfig, "max_tasks") else ()


def worker_pids(received: ReceivedEvents) -> list[int]:
    """The workers of recent events, the latest first."""
    recent = [event["pid"] for event in received.events[-50:] if event["attempt"]]
    return list(dict.fromkeys(reversed(recent)))


def told(received: ReceivedEvents, *statuses: str) -> Counter[str | None]:
    """How many events with one of *statuses* each task has."""
    events = list(received.events)
    return Counter(event["id"] for event in events if event["status"] in statuses)


def test_each_task_ends_once_while_workers_are_killed(
    app: ModuleType,
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    ledger: Ledger,
) -> None:
    numbers = {app.work(number, 0.01).id: number for number in range(2_000)}
    running = consumer(
        *("process", "-n", "-w", "4", "-c", "0.1", *recycling()), application="kills"
    )

    kills = 0
    next_kill = time.monotonic() + 0.5
    while len(app.huey):
        time.sleep(0.01)
        assert running.running
        if time.monotonic() < next_kill:
            continue
        next_kill += 0.5
        # The latest that lives: events of killed ones may still come.
        for pid in worker_pids(received):
            if alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    kills += 1
                break
    # A long one for each worker, which then has ended the one that it took before.
    last = {app.work(number, 1.0).id: number for number in range(2_000, 2_004)}
    numbers |= last
    wait_until(lambda: last.keys() <= told(received, *ENDS).keys())
    wait_until(lambda: not told(received, "started") - told(received, *ENDS))
    running.stop_after_kills()
    received.catch_up()

    started = told(received, "started")
    ended = told(received, *ENDS)
    lost = told(received, "lost")
    assert kills >= 5
    # Each at most once, and no start without an end.
    assert set(started.values()) == {1}
    assert set(ended.values()) == {1}
    assert not started - ended
    # Ends without a start were popped by a worker that was killed before it began.
    assert not (ended - started) - lost
    assert len(lost) <= kills
    # A message that dies on its way from Redis to a worker leaves no trace.
    untold = numbers.keys() - ended.keys()
    assert len(untold) <= kills - len(lost)
    began = {numbers[str(task_id)] for task_id in started}
    assert set(ledger.numbers("began").values()) == {1}
    # Killed between the event and the first line of the task.
    assert ledger.numbers("began").keys() <= began
    assert len(began - ledger.numbers("began").keys()) <= kills
    # Killed after the last line, before huey had stored the result.
    finished = {numbers[str(key)] for key in told(received, "finished", "error-task")}
    assert finished <= ledger.numbers("ended").keys()
    assert len(ledger.numbers("ended").keys() - finished) <= kills


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_when_the_consumer_is_told_to_stop(
    kind: str,
    signum: signal.Signals,
    app: ModuleType,
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    ledger: Ledger,
) -> None:
    numbers = {app.work(number, 0.02).id: number for number in range(1, 400)}
    running = consumer(kind, "-n", "-w", "4", application="kills")
    wait_until(lambda: len(told(received, "finished")) > 20)

    code = running.stop(signum)

    received.catch_up()
    started, ended = told(received, "started"), told(received, *ENDS)
    left = {task.id for task in app.huey.pending()}
    assert code == 0
    assert set(started.values()) == set(ended.values()) == {1}
    assert started.keys() <= ended.keys()
    assert ended.keys().isdisjoint(left)
    # huey 2 kills its workers on SIGTERM: between the storage's answer and the
    # first record of a task, or between its start and its first line.
    killed = 4 if signum == signal.SIGTERM else 0
    began = {numbers[str(task_id)] for task_id in started}
    assert ended.keys() | left <= numbers.keys()
    assert len(numbers.keys() - ended.keys() - left) <= killed
    assert len(began ^ set(ledger.numbers("began"))) <= killed
    if signum == signal.SIGINT:
        assert not told(received, "interrupted", "lost")
        assert ledger.numbers("ended") == ledger.numbers("began")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_when_the_consumer_is_told_to_restart(
    kind: str,
    app: ModuleType,
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    ledger: Ledger,
) -> None:
    numbers = {app.work(number, 0.02).id: number for number in range(1, 100)}
    running = consumer(kind, "-n", "-w", "2", application="kills")
    wait_until(lambda: len(told(received, "finished")) > 20)
    before = {event["pid"] for event in list(received.events)}

    running.send(signal.SIGHUP)
    # A busy machine may have run all the others by then.
    wait_until(lambda: "Consumer will restart" in running.log)
    numbers |= {app.work(number, 0.02).id: number for number in range(100, 200)}

    wait_until(lambda: len(told(received, *ENDS)) == len(numbers))
    after = {event["pid"] for event in list(received.events)}
    assert running.running
    assert len(after - before) >= (2 if kind == "process" else 0)
    assert set(told(received, "started").values()) == {1}
    assert told(received, "finished", "error-task").keys() == numbers.keys()
    assert set(ledger.numbers("ended").values()) == {1}


def test_workers_go_on_while_the_main_process_is_stopped(
    app: ModuleType,
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    dropped = tmp_path / "dropped"
    running = consumer(
        *("process", "-n", "-w", "2"),
        application="kills",
        LIVE_DROPPED=str(dropped),
    )
    first = app.work(2, 0)
    received.wait_for(first.id, 2)

    # More than pipe and workers hold; large errors make up most of it.
    running.send(signal.SIGSTOP)
    numbers = range(5, 6_000, 5)
    for number in numbers:
        app.work(number, 0)
    wait_until(lambda: len(ledger.numbers("ended")) == len(numbers) + 1, seconds=120)
    running.send(signal.SIGCONT)
    running.stop()

    events = received.catch_up()
    assert {event["status"] for event in events} == {
        *("started", "finished", "error-task")
    }
    assert set(told(received, "started").values()) == {1}
    assert set(told(received, *ENDS).values()) == {1}
    assert len(events) > 100
    assert losses(dropped) == {"relay": 2 * (len(numbers) + 1) - len(events)}


def test_a_thread_still_running_at_the_end_reports_one_end_or_lost(
    consumer: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    received: ReceivedEvents,
) -> None:
    app = application()

    for _ in range(5):
        for number in range(200):
            app.add(number, 1)
        before = len(received.events)
        running = consumer("thread", "-n", "-w", "6")
        wait_until(lambda before=before: len(received.events) > before + 40)
        running.stop(signal.SIGTERM)
    received.catch_up()

    ends = {}
    for event in received.events:
        if event["status"] != "started":
            ends.setdefault(event["id"], []).append(event["status"])
    assert [kinds for kinds in ends.values() if len(kinds) > 1] == []
