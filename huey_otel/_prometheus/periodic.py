"""Periodic tasks: when they are due, by their crontab or as their runs show."""

import datetime
import time
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from huey_otel._prometheus.catalog import Labels
from huey_otel._wire.record import Record

_MINUTE: Final = 60
_ONE_DAY: Final = datetime.timedelta(days=1)
_HORIZON: Final = 8 * 366
"""Days that are looked through: 29 February is at most eight years away."""

_OVERLAP: Final = datetime.timedelta(hours=2)
"""By how much clocks are put back at most."""


class Crontab(NamedTuple):
    """When huey's crontab is due. Sunday is weekday 0."""

    months: Collection[int]
    days: Collection[int]
    weekdays: Collection[int]
    hours: Collection[int]
    minutes: Collection[int]


class Due(NamedTuple):
    """The next due minute in Unix seconds, and how long after the one before."""

    interval: float
    next_run: float


class ObservedRuns:
    """The minutes in which periodic tasks were enqueued here. Not thread-safe."""

    def __init__(self) -> None:
        self._last: dict[Labels, float] = {}
        self._due: dict[Labels, Due] = {}

    def follow(self, task: Labels, _: str | None, record: Record, *__: Any) -> None:
        """The scheduler has enqueued *task*."""
        minute = record.timestamp // _MINUTE * _MINUTE
        last = self._last.get(task, minute)
        if minute >= last:
            self._last[task] = minute
        if minute > last:
            self._due[task] = Due(minute - last, 2 * minute - last)

    def due(self) -> dict[Labels, Due]:
        """When they are due next, if the last interval repeats."""
        return self._due.copy()


def due(crontab: Crontab, now: float, *, utc: bool) -> Due | None:
    """What is due around *now*, by UTC or by local time; None for what never is.

    Raises OverflowError and the like for a *now* that is in no calendar.
    """
    zone = datetime.UTC if utc else None
    here = datetime.datetime.fromtimestamp(now, zone).replace(tzinfo=None)
    around = datetime.timedelta() if utc or _is_steady(now) else _OVERLAP
    following = _first(crontab, now, here - around, utc=utc, ahead=True)
    before = _first(crontab, now, here + around, utc=utc, ahead=False)
    if following is None or before is None:
        return None
    return Due(following - before, following)


def _is_steady(now: float) -> bool:
    """Whether no clock is changed around *now*."""
    around = 2 * _OVERLAP.total_seconds()
    offsets = {time.localtime(now + near).tm_gmtoff for near in (-around, around)}
    return len(offsets) == 1


def _first(
    crontab: Crontab, now: float, start: datetime.datetime, *, utc: bool, ahead: bool
) -> float | None:
    """With *ahead* the first due moment after *now*, else the last one until then."""
    second: list[float] = []
    for candidate in _candidates(crontab, start, ahead=ahead):
        moments = _moments(candidate, utc=utc, ahead=ahead)
        fit = [one for one in moments if (one > now) == ahead]
        if fit and fit == moments:
            found = [fit[0], *second]
            return min(found) if ahead else max(found)
        # The hour is shown twice: another minute of it may come before this one.
        second += fit
    return second[0] if second else None


def _candidates(
    crontab: Crontab, start: datetime.datetime, *, ahead: bool
) -> Iterator[datetime.datetime]:
    """Due minutes by the clock, from that of *start* on."""
    months, days, weekdays, hours, minutes = crontab
    in_order = sorted(hours, reverse=not ahead)
    within = sorted(minutes, reverse=not ahead)
    day = start.date()
    for number in range(_HORIZON):
        if day.month in months and day.day in days and day.isoweekday() % 7 in weekdays:
            for hour in in_order:
                if number or (hour >= start.hour if ahead else hour <= start.hour):
                    midnight = datetime.datetime.combine(day, datetime.time())
                    for minute in within:
                        yield midnight.replace(hour=hour, minute=minute)
        day = day + _ONE_DAY if ahead else day - _ONE_DAY


def _moments(naive: datetime.datetime, *, utc: bool, ahead: bool) -> list[float]:
    """When the clock shows *naive*: twice or never, where clocks are changed."""
    if utc:
        return [naive.replace(tzinfo=datetime.UTC).timestamp()]
    found = {naive.replace(fold=fold).timestamp() for fold in (0, 1)}
    shown = [one for one in found if datetime.datetime.fromtimestamp(one) == naive]  # noqa: DTZ006 - local time is meant
    return sorted(shown, reverse=not ahead)
