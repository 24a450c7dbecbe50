"""The overflow: sums up the records that do not fit, so that counts stay exact."""

import threading
from typing import Any, Final

from huey_otel._wire.record import Record, TaskFacts
from huey_otel.mapping import TABLE

_KEYED: Final = ("outcome", "final", "exception", "origin", "reason")
"""The extra keys that metrics count by."""

_MOST_KEYS: Final = 10_000
_MOST_VALUES: Final = 20_000
"""Different values of seconds in all; the rest has one significant digit."""

_SMALLEST: Final = 1e-6

Key = tuple[int, str, int, str | None, *tuple[str | None, ...]]
"""Source, status, pid, the task's dotted path, and the values of _KEYED."""


class Overflow:
    """Makes one record of many that differ only in their numbers.

    Its `extra` has the `number` of records, the `count` of what they report, which
    is more where one tells of several, and `values`: how many records there were of
    each number of seconds, rounded up to three significant digits, so that a
    histogram whose bounds have no more digits stays exact. The extra key that the
    mapping names for the status holds all seconds together.
    Bounded: past 10,000 keys records are summed up without task and exception.
    """

    def __init__(self) -> None:
        # Reentrant: a signal handler may send records while one is added.
        self._lock = threading.RLock()
        self._sums: dict[Key, _Sum] = {}
        self._room = _MOST_VALUES

    def add(self, record: Record) -> None:
        """Count *record*; its narrative is gone."""
        extra: dict[str, Any] = record.extra or {}
        named = TABLE[record.status].seconds
        with self._lock:
            key = self._key(record, extra)
            known = self._sums.get(key)
            if known is None:
                known = self._sums[key] = _Sum()
            known.number += 1
            known.count += extra.get("count", 1)
            known.last = max(known.last, record.timestamp)
            seconds = None if named is None else extra.get(named)
            if seconds is not None:
                known.seconds += seconds
                value = self._value(known.values, seconds)
                known.values[value] = known.values.get(value, 0) + 1

    def _key(self, record: Record, extra: dict[str, Any]) -> Key:
        keyed = [extra.get(name) for name in _KEYED]
        name = TaskFacts(*record.facts).name if record.facts else None
        key: Key = (record.source, record.status, record.pid, name, *keyed)
        if len(self._sums) >= _MOST_KEYS and key not in self._sums:
            keyed[_KEYED.index("exception")] = None
            key = (record.source, record.status, record.pid, None, *keyed)
        return key

    def _value(self, values: dict[float, int], seconds: float) -> float:
        value = rounded_up(seconds, digits=3)
        if value not in values:
            if not self._room:
                return rounded_up(seconds, digits=1)
            self._room -= 1
        return value

    def __bool__(self) -> bool:
        return bool(self._sums)

    def records(self) -> list[Record]:
        """The records that stand for all that were added."""
        with self._lock:
            return [known.as_record(key) for key, known in self._sums.items()]

    def take(self) -> list[Record]:
        """Like `records`, and begin again with nothing."""
        with self._lock:
            records = self.records()
            self._sums = {}
            self._room = _MOST_VALUES
        return records


class _Sum:
    """What the records of one key come to."""

    def __init__(self) -> None:
        self.number = 0
        self.count = 0
        self.last = 0.0
        self.seconds = 0.0
        self.values: dict[float, int] = {}

    def as_record(self, key: Key) -> Record:
        source, status, pid, name, *keyed = key
        extra: dict[str, Any] = dict(zip(_KEYED, keyed, strict=True))
        extra |= {"number": self.number, "count": self.count, "values": self.values}
        named = TABLE[status].seconds
        if named is not None and self.values:
            extra[named] = self.seconds
        facts = None
        if name is not None:
            facts = tuple(TaskFacts("", "", name, None, None, 0))
        return Record(source, status, self.last, pid, 0, None, facts, None, extra)


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
