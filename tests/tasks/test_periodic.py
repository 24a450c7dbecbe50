"""What is known of periodic tasks without asking their own functions."""

import functools
import time

import pytest
from huey import MemoryHuey, crontab
from huey.api import PeriodicTask

from huey_otel import _names as n
from huey_otel._prometheus import periodic
from huey_otel._prometheus.periodic import Due
from huey_otel._tasks.schedule import Timetable

NOON = 1_767_268_800.0  # 1 January 2026 in UTC.
HERE = f"{__name__}."


@pytest.fixture
def at(monkeypatch):
    """Sets the clock."""

    def set_to(moment: float) -> None:
        monkeypatch.setattr(time, "time", lambda: moment)

    set_to(NOON)
    return set_to


def declare(huey, name, validate):
    return huey.periodic_task(validate, name=name)(lambda: None)


def test_crontabs_are_known_and_the_applications_functions_are_not_called(huey, at):
    called = []
    nightly = crontab(hour="3", minute="30")

    @functools.wraps(nightly)
    def wrapped(moment):
        called.append(moment)
        return nightly(moment)

    declare(huey, "nightly", nightly)
    declare(huey, "often", crontab(minute="*/5"))
    declare(huey, "wrapped", wrapped)
    declare(huey, "own", lambda moment: called.append(moment) or True)

    known = Timetable(huey)()

    assert known == {
        f"{HERE}nightly": Due(86_400, NOON + 15.5 * 3600),
        f"{HERE}often": Due(300, NOON + 300),
    }
    assert called == []


def test_local_time_is_that_of_a_huey_without_utc(at, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        huey = MemoryHuey("shop", utc=False)
        declare(huey, "nightly", crontab(hour="3", minute="30"))

        assert Timetable(huey)()[f"{HERE}nightly"].next_run == NOON + 20.5 * 3600
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


def test_class_of_its_own_is_not_known(huey, at):
    class Own(PeriodicTask):
        def validate_datetime(self, timestamp):
            raise AssertionError("it would be asked out of turn")

    huey._registry.register(Own)

    assert Timetable(huey)() == {}


def test_it_is_worked_out_once_until_it_is_due(huey, at, monkeypatch):
    asked = []
    really = periodic.due

    def due(crontab, now, *, utc):
        asked.append(now)
        return really(crontab, now, utc=utc)

    monkeypatch.setattr(periodic, "due", due)
    declare(huey, "hourly", crontab(minute="0"))
    declare(huey, "never", crontab(month="2", day="31"))
    timetable = Timetable(huey)
    found = []
    for moment in (NOON, NOON + 3599, NOON + 3600, NOON + 3601):
        at(moment)
        found.append(timetable()[f"{HERE}hourly"].next_run - NOON)
    declare(huey, "late", crontab(minute="0"))
    later = timetable()

    assert found == [3600, 3600, 7200, 7200]
    assert asked == [NOON, NOON, NOON + 3600, NOON + 3601]
    assert set(later) == {f"{HERE}hourly", f"{HERE}late"}


def test_task_that_is_gone_is_forgotten(huey, at):
    task = declare(huey, "hourly", crontab(minute="0"))
    timetable = Timetable(huey)
    before = timetable()
    huey._registry.unregister(task.task_class)

    assert (len(before), timetable()) == (1, {})


def test_huey_that_keeps_its_tasks_otherwise_costs_a_loss_and_no_page(
    huey, at, losses, monkeypatch
):
    monkeypatch.delattr(huey._registry, "_periodic_tasks")

    assert Timetable(huey)() == {}
    assert losses.counts() == {n.LOSS_INTERNAL: 1}


def test_crontab_that_cannot_be_read_costs_its_own_times_only(
    huey, at, losses, monkeypatch
):
    really = periodic.due

    def due(crontab, now, *, utc):
        if len(crontab.minutes) == 2:
            raise OverflowError("in no calendar")
        return really(crontab, now, utc=utc)

    monkeypatch.setattr(periodic, "due", due)
    declare(huey, "hourly", crontab(minute="0"))
    declare(huey, "odd", crontab(minute="0,1"))

    assert set(Timetable(huey)()) == {f"{HERE}hourly"}
    assert losses.counts() == {n.LOSS_INTERNAL: 1}
