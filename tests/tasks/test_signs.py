"""Signs of life: what the main process sees of workers, and of its own stops."""

import pytest
from huey.api import Huey

from huey_otel._tasks import signs
from huey_otel._tasks.signs import GOT, LOOKED, Heart
from tests.support.forks import fork


class Clock:
    """The monotonic clock of `signs`, which a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(signs, "time", clock)
    return clock


def test_signs_of_a_forked_worker_are_seen_by_its_parent(huey: Huey) -> None:
    consumer = huey.create_consumer(workers=1, worker_type="process")
    shown = signs.signs(consumer)

    def work() -> None:
        shown[LOOKED], shown[GOT] = 1.5, 2.5

    assert fork(work).join() == 0
    assert tuple(shown) == (1.5, 2.5, 0.0)


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        (90.0, 19.0),
        (100.5, 8.5),
        (105.0, 8.0),
        (108.0, 8.0),
        (115.0, 5.0),
        (120.0, 0.0),
    ],
    ids=["before", "right before", "within", "at the end", "after it", "now"],
)
def test_seconds_in_which_the_process_was_stopped_do_not_count(
    clock: Clock, since: float, seconds: float
) -> None:
    heart = Heart()
    for clock.now in (100.1, 101.0, 112.0, 112.1):
        heart.beat()

    assert round(heart.awake(since, 120.0), 3) == seconds


def test_a_heart_that_has_stopped_for_good_hides_nothing(clock: Clock) -> None:
    heart = Heart()

    clock.now = 500.0

    assert heart.awake(100.0, 500.0) == 400.0


def test_beats_take_no_memory(clock: Clock) -> None:
    heart = Heart()
    for _ in range(1_000):
        clock.now += 2.0
        heart.beat()

    assert heart.awake(clock.now - 200.0, clock.now) == 0.0
    assert len(heart._stops) == 100
