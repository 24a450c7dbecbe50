"""When periodic tasks are due; crontabs against huey's own function, by the minute."""

import datetime
import random
import time
from collections.abc import Iterator

import pytest
from huey import crontab

from huey_otel import _names as n
from huey_otel._prometheus.periodic import Crontab, Due, due
from huey_otel._wire.record import Record
from tests.support.metrics import OF_TASK, TASK, consumer, feed, page, record

DAY = 86_400
ANY = Crontab(range(1, 13), range(1, 32), range(7), range(24), range(60))


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


def unix(*moment: int) -> float:
    return datetime.datetime(*moment, tzinfo=datetime.UTC).timestamp()


def read(validate) -> Crontab:
    (settings,) = (cell.cell_contents for cell in validate.__closure__)
    return Crontab(*settings)


def asked(validate, now: float, *, utc: bool, days: int) -> Due | None:
    """What a scheduler finds that asks each minute."""
    zone = datetime.UTC if utc else None

    def is_due(moment: float) -> bool:
        here = datetime.datetime.fromtimestamp(moment, zone)
        return validate(here.replace(tzinfo=None))

    minute = now // 60 * 60
    limit = days * DAY // 60
    after = (minute + 60 * n for n in range(1, limit))
    before = (minute - 60 * n for n in range(limit))
    following = next(filter(is_due, after), None)
    last = next(filter(is_due, before), None)
    if following is None or last is None:
        return None
    return Due(following - last, following)


def random_crontab(dice: random.Random):
    def one(low: int, high: int) -> str:
        number = dice.randrange(low, high)
        return dice.choice(["*", "*", str(number), f"{number},{low}"])

    day, day_of_week = dice.choice(
        [("*", "*"), ("1,15", "*"), ("*", "1-5"), ("*", "0")]
    )
    return crontab(minute=one(0, 60), hour=one(0, 24), day=day, day_of_week=day_of_week)


# Clocks go forward on the second Sunday of March, or its last, and back in autumn.
MOMENTS = {
    "Europe/Berlin": [unix(2026, 3, 29, 0, 30), unix(2026, 10, 25, 0, 30)],
    "America/New_York": [unix(2026, 3, 8, 6, 30), unix(2026, 11, 1, 5, 30)],
    "Australia/Lord_Howe": [unix(2026, 4, 4, 14, 50), unix(2026, 10, 3, 15, 20)],
    "Asia/Kolkata": [unix(2026, 12, 31, 23, 59)],
}


@pytest.mark.parametrize("utc", [True, False], ids=["utc", "local"])
@pytest.mark.parametrize("zone", MOMENTS, indirect=True)
def test_it_is_due_when_huey_says_so(zone, request, *, utc):
    dice = random.Random(5)
    moments = MOMENTS[request.node.callspec.params["zone"]]
    for _ in range(40):
        validate = random_crontab(dice)
        now = dice.choice(moments) + dice.uniform(-7_200, 7_200)

        expected = asked(validate, now, utc=utc, days=20)

        assert due(read(validate), now, utc=utc) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
def test_hour_that_a_clock_shows_twice_is_due_twice(zone):
    half_past_two = read(crontab(hour="2", minute="30"))
    first, second = unix(2026, 10, 25, 0, 30), unix(2026, 10, 25, 1, 30)

    assert due(half_past_two, first - 1, utc=False) == Due(DAY, first)
    assert due(half_past_two, first, utc=False) == Due(3600, second)
    assert due(half_past_two, second, utc=False) == Due(DAY, second + DAY)


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
def test_hour_that_a_clock_leaves_out_is_not_due(zone):
    half_past_two = read(crontab(hour="2", minute="30"))
    saturday, monday = unix(2026, 3, 28, 1, 30), unix(2026, 3, 30, 0, 30)

    assert due(half_past_two, saturday, utc=False) == Due(monday - saturday, monday)


def test_leap_day_is_found_years_ahead():
    leap_day = read(crontab(month="2", day="29", hour="3", minute="0"))
    last, following = unix(2096, 2, 29, 3), unix(2104, 2, 29, 3)

    assert due(leap_day, last, utc=True) == Due(following - last, following)


def test_day_that_never_comes_is_not_due():
    never = read(crontab(month="2", day="31", minute="0"))

    assert due(never, unix(2026, 1, 1), utc=True) is None


def test_minute_that_begins_is_not_the_next_one():
    minute = unix(2026, 1, 1, 12, 0)

    assert due(ANY, minute, utc=True) == Due(60, minute + 60)
    assert due(ANY, minute - 0.001, utc=True) == Due(60, minute)


def scheduled(minute: float, name: str = TASK) -> Record:
    return record("scheduling-periodic", name=name, timestamp=60 * minute + 0.2)


def test_next_run_follows_the_interval_of_the_last_runs(collector, registry):
    feed(collector, scheduled(10), scheduled(10, name="app.once"))
    after_one = page(registry, n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN)
    feed(collector, scheduled(40), scheduled(55), scheduled(55), scheduled(54))

    assert after_one == {}
    assert page(registry, n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN) == {
        f"huey_periodic_task_interval_seconds{{{OF_TASK}}}": 15 * 60,
        f"huey_periodic_task_next_run_timestamp_seconds{{{OF_TASK}}}": 70 * 60,
    }


def test_crontab_of_a_periodic_task_counts_more_than_its_runs(collector, registry):
    collector.add_consumer(1, consumer(due=lambda: {TASK: Due(3600, 7200)}))
    feed(collector, scheduled(40), scheduled(55))

    assert page(registry, n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN) == {
        f"huey_periodic_task_interval_seconds{{{OF_TASK}}}": 3600,
        f"huey_periodic_task_next_run_timestamp_seconds{{{OF_TASK}}}": 7200,
    }
