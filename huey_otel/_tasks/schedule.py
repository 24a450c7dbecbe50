"""The timetable: when the periodic tasks of a huey are due, as far as it is known."""

import time
from types import CodeType
from typing import Any, Final

from huey.api import Huey, crontab

from huey_otel._prometheus import periodic
from huey_otel._prometheus.periodic import Crontab, Due
from huey_otel._safety import encodable
from huey_otel._safety.guard import guarded

_CODE: Final[CodeType] = crontab().__code__
_SETTINGS: Final = "cron_settings"
_A_DAY: Final = 86_400.0


def registered(huey: Huey) -> list[str]:
    """The dotted paths of the tasks that *huey* knows now."""
    return [encodable.name(known) for known in huey._registry._registry]


class Timetable:
    """Says of each periodic task by its dotted path when it is due.

    Only of those whose function huey's `crontab` has made: that is read, never
    called. To call another function may change when its task runs, as it may count
    its calls, or look into a database.
    """

    def __init__(self, huey: Huey) -> None:
        self._huey = huey
        self._known: dict[type, tuple[float, float, Due | None]] = {}

    def __call__(self) -> dict[str, Due]:
        """What is known; a task that has been due is worked out again."""
        return self._all() or {}

    @guarded
    def _all(self) -> dict[str, Due]:
        now = time.time()
        known = {}
        for kind in list(self._huey._registry._periodic_tasks):
            since, until, found = self._known.get(kind, (now, now, None))
            if not since <= now < until:
                found = self._due(kind, now)
                until = now + _A_DAY if found is None else found.next_run
                since = now
            known[kind] = (since, until, found)
        self._known = known
        return {
            encodable.name(f"{kind.__module__}.{kind.__name__}"): found
            for kind, (_, _, found) in known.items()
            if found is not None
        }

    @guarded
    def _due(self, kind: type, now: float) -> Due | None:
        settings = _crontab_of(kind)
        if settings is None:
            return None
        return periodic.due(settings, now, utc=self._huey.utc)


def _crontab_of(kind: Any) -> Crontab | None:
    """What `huey.crontab` was called with; None if another function decides."""
    for cell in getattr(kind.validate_datetime, "__closure__", None) or ():
        validate = cell.cell_contents
        if getattr(validate, "__code__", None) is _CODE:
            at = _CODE.co_freevars.index(_SETTINGS)
            return Crontab(*map(frozenset, validate.__closure__[at].cell_contents))
    return None
