"""Streaks of messages that cannot be read: when they are told, and that all are."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from huey_otel._tasks import dequeue
from tests.support.recorded import EARLIER


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass for the module."""
    now = [1_000.0]
    time = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(dequeue, "time", time)

    def pass_by(seconds: float) -> None:
        now[0] += seconds

    return pass_by


def counts(seen):
    return [event["count"] for event in seen.published if "count" in event]


def read_nonsense(huey, times):
    for _ in range(times):
        huey.storage.enqueue(b"nonsense")
        with pytest.raises(Exception):  # noqa: B017, PT011 - pickle has many
            huey.dequeue()


def test_rest_of_a_streak_is_told_ten_seconds_later_on_an_idle_queue(huey, seen, clock):
    read_nonsense(huey, 4)

    clock(9.9)
    huey.dequeue()
    assert counts(seen) == [1]

    clock(0.2)
    huey.dequeue()
    assert counts(seen) == [1, 3]


def test_rest_of_a_streak_on_the_schedule_is_told_ten_seconds_later(huey, seen, clock):
    for number in range(4):
        huey.storage.add_to_schedule(b"nonsense %d" % number, EARLIER)
    huey.read_schedule()

    clock(10.1)
    huey.read_schedule()

    assert counts(seen) == [1, 3]


def test_a_message_that_can_be_read_ends_the_streak(huey, seen, clock):
    @huey.task()
    def send(): ...

    read_nonsense(huey, 1)
    send()
    huey.execute(huey.dequeue())
    read_nonsense(huey, 1)

    assert counts(seen) == [1, 1]
