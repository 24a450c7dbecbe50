"""Sums: what becomes of records that do not fit, so that counts stay exact."""

import threading
from typing import Any, Final

from huey_otel._records import Key, Record, Sum

_MOST_KEYS: Final = 10_000


class Sums:
    """Counts records per (source, status, task, outcome) while they cannot be sent.

    Bounded: past 10,000 keys the rest is summed without its task.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._sums: dict[Key, Sum] = {}

    def fold(self, record: Record) -> None:
        """Add *record* to its sum; its narrative is gone."""
        extra: dict[str, Any] = record.extra or {}
        name = record.facts[2] if record.facts else None
        key: Key = (
            record.source,
            record.status,
            name,
            extra.get("outcome"),
            extra.get("final"),
            extra.get("exception"),
        )
        with self._lock:
            if len(self._sums) >= _MOST_KEYS and key not in self._sums:
                key = (record.source, record.status, None, key[3], key[4], None)
            entry = self._sums.setdefault(key, [0, 0.0])
            entry[0] += extra.get("count", 1)
            entry[1] += extra.get("duration") or 0.0

    def __bool__(self) -> bool:
        return bool(self._sums)

    def take(self) -> list[tuple[Key, Sum]]:
        """All sums since the last `take`."""
        with self._lock:
            taken, self._sums = self._sums, {}
        return list(taken.items())
