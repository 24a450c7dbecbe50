"""Sums: what becomes of records that do not fit, so that counts stay exact."""

import threading
from typing import Any, Final

from huey_otel._records import KEYED, Key, Record, Sum
from huey_otel.mapping import TABLE

_MOST_KEYS: Final = 10_000
_MOST_VALUES: Final = 20_000
"""Different values of seconds in all; the rest has one significant digit."""

_SMALLEST: Final = 1e-6


class Sums:
    """Counts records that are alike, while they cannot be sent.

    Bounded: past 10,000 keys the rest is summed without its task and exception.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._sums: dict[Key, _Entry] = {}
        self._room = _MOST_VALUES

    def fold(self, record: Record) -> None:
        """Add *record* to its sum; its narrative is gone."""
        extra: dict[str, Any] = record.extra or {}
        named = TABLE[record.status].seconds
        seconds = None if named is None else extra.get(named)
        with self._lock:
            entry = self._entry(record, extra)
            entry.number += 1
            entry.reported += extra.get("count", 1)
            entry.last = max(entry.last, record.timestamp)
            if seconds is not None:
                self._observe(entry, seconds)

    def _entry(self, record: Record, extra: dict[str, Any]) -> "_Entry":
        keyed = [extra.get(name) for name in KEYED]
        name = record.facts[2] if record.facts else None
        key: Key = (record.source, record.status, name, *keyed)
        if len(self._sums) >= _MOST_KEYS and key not in self._sums:
            keyed[KEYED.index("exception")] = None
            key = (record.source, record.status, None, *keyed)
        return self._sums.setdefault(key, _Entry())

    def _observe(self, entry: "_Entry", seconds: float) -> None:
        entry.seconds += seconds
        value = rounded_up(seconds, digits=3)
        if value not in entry.values:
            if self._room:
                self._room -= 1
            else:
                value = rounded_up(seconds, digits=1)
        entry.values[value] = entry.values.get(value, 0) + 1

    def __bool__(self) -> bool:
        return bool(self._sums)

    def take(self) -> list[tuple[Key, Sum]]:
        """All sums since the last `take`."""
        with self._lock:
            taken, self._sums = self._sums, {}
            self._room = _MOST_VALUES
        return [(key, entry.total()) for key, entry in taken.items()]


class _Entry:
    """A Total that grows."""

    __slots__ = ("last", "number", "reported", "seconds", "values")

    def __init__(self) -> None:
        self.number = 0
        self.reported = 0
        self.last = 0.0
        self.seconds = 0.0
        self.values: dict[float, int] = {}

    def total(self) -> Sum:
        return self.number, self.reported, self.last, self.seconds, self.values


def rounded_up(seconds: float, *, digits: int) -> float:
    """*seconds* with that many significant digits, never less than it was.

    So it stays on its side of every bound that has no more digits.
    """
    if seconds < _SMALLEST:
        return _SMALLEST if seconds > 0 else 0.0
    written = f"{seconds:.{digits - 1}e}"
    nearest = float(written)
    if nearest >= seconds:
        return nearest
    mantissa, _, exponent = written.partition("e")
    step = 10.0 ** (1 - digits)
    return float(f"{float(mantissa) + step:.{digits - 1}f}e{exponent}")
