"""How long the end of a process may still wait, shared with its workers."""

import os
import threading
from collections.abc import Callable

import pytest

from huey_otel import instrument
from huey_otel._process.shared import shared
from huey_otel._safety.forks import EXCLUSION
from huey_otel._safety.shutdown import ShutdownTime
from tests.support.forks import fork, said_in_child


class Clock:
    """A clock that goes on only while a test waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("huey_otel._safety.shutdown.time", clock)
    return clock


@pytest.fixture
def shutdown(clock: Clock) -> ShutdownTime:
    shutdown = ShutdownTime()
    shutdown.share()
    shutdown.begin()
    return shutdown


@pytest.fixture
def slowly(clock: Clock) -> Callable[[float, list[float]], Callable[[float], None]]:
    def slowly(seconds: float, told: list[float]) -> Callable[[float], None]:
        def wait(left: float) -> None:
            told.append(left)
            clock.sleep(min(left, seconds))

        return wait

    return slowly


def test_what_was_spent_is_not_spent_again(shutdown, slowly):
    told: list[float] = []

    shutdown.spend(0.5, slowly(0.1, told))
    shutdown.spend(0.5, slowly(0.1, told))
    shutdown.spend(0.15, slowly(0.1, told))

    assert told == [
        0.5,
        pytest.approx(0.4),
        pytest.approx(0.0, abs=1e-9),
    ]


def test_a_new_end_begins_with_all_of_the_time(shutdown, slowly):
    told: list[float] = []

    shutdown.spend(0.05, slowly(1, told))
    shutdown.begin()
    shutdown.spend(0.05, slowly(1, told))

    assert told == [0.05, 0.05]


def test_what_a_worker_waited_counts(shutdown, slowly, clock):
    told: list[float] = []

    assert fork(lambda: shutdown.spend(0.5, slowly(0.2, []))).join() == 0
    clock.sleep(0.1)
    shutdown.spend(0.5, slowly(0.0, told))

    assert told == [pytest.approx(0.3)]


def test_a_worker_has_the_whole_time_for_itself(shutdown, slowly):
    shutdown.spend(0.1, slowly(0.1, []))
    told: list[float] = []

    def spend() -> list[float]:
        shutdown.spend(0.5, told.append)
        return told

    assert said_in_child(spend) == [0.5]


def test_what_was_before_the_end_does_not_count(shutdown, slowly):
    told: list[float] = []

    assert fork(lambda: shutdown.spend(0.5, slowly(0.1, []))).join() == 0
    shutdown.begin()
    shutdown.spend(0.5, slowly(0.0, told))

    assert told == [0.5]


def test_a_wait_that_raises_counts(shutdown, slowly, clock):
    told: list[float] = []

    def broken(_left: float) -> None:
        clock.sleep(0.1)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        shutdown.spend(0.5, broken)
    shutdown.spend(0.5, slowly(0.0, told))

    assert told == [pytest.approx(0.4)]


def test_what_workers_wrote_last_is_read_though_no_time_is_left(huey, losses):
    instrumentation = instrument(huey, events=None, flush_timeout=0)
    relay = shared().relay
    relay.open_pipe()
    told, tell = os.pipe()
    held, let_go = threading.Event(), threading.Event()

    def lose_spans() -> None:
        os.read(told, 1)
        losses.count("spans", 3, why="the collector is away")
        relay.flush(0.0)

    def hold_up_the_relay() -> None:
        with EXCLUSION:
            held.set()
            let_go.wait(30)

    worker = fork(lose_spans)
    threading.Thread(target=hold_up_the_relay).start()
    held.wait(30)
    os.write(tell, b"x")
    assert worker.join() == 0
    later = threading.Timer(0.2, let_go.set)
    later.start()

    instrumentation._observation.consumer.process_exits()

    assert losses.counts() == {"spans": 3}
    later.join()
    os.close(told)
    os.close(tell)
