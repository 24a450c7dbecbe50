"""Sums: what becomes of records that do not fit, so that counts stay exact."""

import threading
from typing import Any, Final

from huey_otel._wire.record import KEYED, Key, Record, Sum
from huey_otel.mapping import TABLE

_MOST_KEYS: Final = 10_000
_MOST_VALUES: Final = 20_000
"""Different values of seconds in all; the rest has one significant digit."""

_SMALLEST: Final = 1e-6

_Alike = dict[float | None, tuple[int, int, float, float]]
"""By rounded seconds, None without: number, reported, last, and seconds in all."""

_NOTHING: Final = (0, 0, 0.0, 0.0)


class Sums:
    """Counts records that are alike, while they cannot be sent.

    Bounded: past 10,000 keys the rest is summed without its task and exception.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._sums: dict[Key, _Alike] = {}
        self._room = _MOST_VALUES

    def fold(self, record: Record) -> None:
        """Add *record* to its sum; its narrative is gone."""
        extra: dict[str, Any] = record.extra or {}
        named = TABLE[record.status].seconds
        seconds = None if named is None else extra.get(named)
        with self._lock:
            key = self._key(record, extra)
            alike = self._sums.get(key, {})
            value = None if seconds is None else self._value(alike, seconds)
            number, reported, last, total = alike.get(value, _NOTHING)
            entry = (
                number + 1,
                reported + extra.get("count", 1),
                max(last, record.timestamp),
                total + (seconds or 0.0),
            )
            # At one stroke: an alarm may raise anywhere.
            if alike:
                alike[value] = entry
            else:
                self._sums[key] = {value: entry}

    def _key(self, record: Record, extra: dict[str, Any]) -> Key:
        keyed = [extra.get(name) for name in KEYED]
        name = record.facts[2] if record.facts else None
        key: Key = (record.source, record.status, name, *keyed)
        if len(self._sums) >= _MOST_KEYS and key not in self._sums:
            keyed[KEYED.index("exception")] = None
            key = (record.source, record.status, None, *keyed)
        return key

    def _value(self, alike: "_Alike", seconds: float) -> float:
        value = rounded_up(seconds, digits=3)
        if value not in alike:
            if not self._room:
                return rounded_up(seconds, digits=1)
            self._room -= 1
        return value

    def __bool__(self) -> bool:
        return bool(self._sums)

    def take(self) -> list[tuple[Key, Sum]]:
        """All sums since the last `take`."""
        with self._lock:
            taken = self.totals()
            self._room = _MOST_VALUES
            self._sums = {}
        return taken

    def totals(self) -> list[tuple[Key, Sum]]:
        """What `take` would return, and take nothing."""
        with self._lock:
            return [(key, _total(alike)) for key, alike in self._sums.items()]


def _total(alike: "_Alike") -> Sum:
    values = {
        value: number for value, (number, *_) in alike.items() if value is not None
    }
    numbers, reported, last, seconds = zip(*alike.values(), strict=True)
    return sum(numbers), sum(reported), max(last), sum(seconds), values


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
