"""The overflow: sums up the records that do not fit, so that counts stay exact."""

import threading
from typing import Any, Final

from huey_otel._wire.record import COUNTED_BY, Record, TaskFacts
from huey_otel.mapping import TABLE

_MOST_KEYS: Final = 10_000
_MOST_VALUES: Final = 20_000
"""Different values of seconds in all; the rest has one significant digit."""

_SMALLEST: Final = 1e-6


class Overflow:
    """Makes one record of many that differ only in their numbers.

    Its `extra` has the `number` of records, the `count` of what they report (one may
    report several), and `values`: the number of records by seconds, rounded up to
    three significant digits, so that histograms stay exact unless their bounds have
    more. The extra key that the mapping names for the status has the sum of seconds.
    Past 10,000 sums the rest is summed up without task and exception.
    """

    def __init__(self) -> None:
        # Reentrant: a signal handler may send records while one is added.
        self._lock = threading.RLock()
        self._sums: dict[tuple[object, ...], Record] = {}
        self._room = _MOST_VALUES

    def add(self, record: Record) -> None:
        """Count *record*."""
        extra: dict[str, Any] = record.extra or {}
        named = TABLE[record.status].seconds
        with self._lock:
            key = self._key(record, extra)
            known = self._sums.get(key) or _nothing(*key)
            last = max(known.timestamp, record.timestamp)
            self._sums[key] = known._replace(timestamp=last)
            summed: dict[str, Any] = known.extra or {}
            summed["number"] += 1
            summed["count"] += extra.get("count", 1)
            if named is not None and extra.get(named) is not None:
                seconds = extra[named]
                summed[named] = summed.get(named, 0.0) + seconds
                value = self._value(summed["values"], seconds)
                summed["values"][value] = summed["values"].get(value, 0) + 1

    def _key(self, record: Record, extra: dict[str, Any]) -> tuple[Any, ...]:
        whose = (record.source, record.status, record.pid)
        task = TaskFacts(*record.facts).name if record.facts else None
        counted_by = {name: extra.get(name) for name in COUNTED_BY}
        key = (*whose, task, *counted_by.values())
        if len(self._sums) < _MOST_KEYS or key in self._sums:
            return key
        return (*whose, None, *{**counted_by, "exception": None}.values())

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
            return list(self._sums.values())

    def take(self) -> list[Record]:
        """Like `records`, and begin again with nothing."""
        with self._lock:
            records = self.records()
            self._sums = {}
            self._room = _MOST_VALUES
        return records


def _nothing(
    source: int, status: str, pid: int, task: str | None, *counted_by: str | None
) -> Record:
    facts = None if task is None else tuple(TaskFacts("", "", task, None, None, 0))
    extra: dict[str, Any] = dict(zip(COUNTED_BY, counted_by, strict=True))
    extra |= {"number": 0, "count": 0, "values": {}}
    return Record(source, status, 0.0, pid, 0, None, facts, None, extra)


def rounded_up(seconds: float, *, digits: int) -> float:
    """*seconds* with that many significant digits, never less than it was.

    Rounding never moves a value past a bucket's bound that has at most *digits* digits.
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
