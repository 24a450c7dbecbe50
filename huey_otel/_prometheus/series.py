"""The series: what each type of metric counts, a cell for each set of labels.

A cell is found once for each kind of record, and only added to from then on. Not
thread-safe; `collect` returns copies that may be shown.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from huey.constants import WORKER_PROCESS

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._prometheus.catalog import Definition, Labels
from huey_otel._prometheus.exposition import Buckets, HistogramFamily, NumberFamily
from huey_otel._wire.record import Record, TaskFacts

K = TypeVar("K")
V = TypeVar("V")

_MOST_ENDED: Final = 1_000
_TRACE_ID: Final = TaskFacts._fields.index("trace_id")
_SPAN_ID: Final = TaskFacts._fields.index("span_id")


class Number:
    """The cell of a counter or a gauge."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Numbers:
    """The series of a counter, or of a gauge that says when something last happened."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._cells: dict[Labels, Number] = {}

    def cell(self, labels: Labels) -> Number:
        """The cell of *labels*; from now on it is shown."""
        return self._cells.setdefault(labels, Number())

    def collect(self) -> NumberFamily:
        """The numbers as they are now."""
        values = {labels: cell.value for labels, cell in self._cells.items()}
        return NumberFamily(self._definition, values)


class Histogram:
    """The series of a histogram, with a bucket up to each of *bounds*."""

    def __init__(self, definition: Definition, bounds: Sequence[float]) -> None:
        self._definition = definition
        self._bounds = bounds
        self._cells: dict[Labels, Observations] = {}
        self._shown: dict[Labels, Buckets] = {}

    def cell(self, labels: Labels) -> "Observations":
        """The cell of *labels*; it is shown once it has observed something."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = Observations(self._bounds)
        return cell

    def collect(self) -> HistogramFamily:
        """The numbers as they are now; most have not changed since the last scrape."""
        for labels, cell in self._cells.items():
            if cell.changed:
                cell.changed = False
                self._shown[labels] = cell.buckets()
        return HistogramFamily(self._definition, self._bounds, self._shown.copy())


class Observations:
    """The cell of a histogram."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_seconds", "changed")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._seconds = 0.0
        self._exemplars: dict[int, tuple[int, int, float, float]] = {}
        self.changed = False

    def observe(self, seconds: float, record: Record) -> None:
        """Count *seconds*; the trace of *record*, if sampled, is an example of them."""
        bucket = bisect_left(self._bounds, seconds)
        self._counts[bucket] += 1
        self._seconds += seconds
        self.changed = True
        facts = record.facts
        if facts is not None and facts[_SPAN_ID] and facts[_TRACE_ID]:
            trace = facts[_TRACE_ID], facts[_SPAN_ID], seconds, record.timestamp
            self._exemplars[bucket] = trace

    def add(self, values: Mapping[float, int], seconds: float) -> None:
        """Count each of *values* as often as it says; *seconds* are their sum."""
        for value, times in values.items():
            self._counts[bisect_left(self._bounds, value)] += times
        self._seconds += seconds
        self.changed = True

    def buckets(self) -> Buckets:
        """A copy."""
        return Buckets(self._counts.copy(), self._seconds, self._exemplars.copy())


class Restarts(Numbers):
    """The series of workers that huey replaced, by the reason why they had ended.

    A forked worker's `worker-ended` is read before its `gone`, while
    `worker-replaced`, which the main process sends, may come before both. A thread
    has no `gone`, and its successor may have ended before huey's check tells of the
    first. A worker without `worker-ended` has died.
    """

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self._ended: dict[tuple[int, int, str | None], tuple[str, ...]] = {}
        self._gone: dict[tuple[int, int], str] = {}
        self._replaced: set[tuple[int, int]] = set()

    def follow(self, labels: Labels, kind: str | None, record: Record, *_: Any) -> None:
        """Count a restart once its reason is known; *kind* is the worker's."""
        reason = self._reason_after(record, kind)
        if reason is not None:
            self.cell((*labels, reason)).value += 1

    def _reason_after(self, record: Record, kind: str | None) -> str | None:
        process = (record.source, record.pid)
        worker = (*process, record.worker)
        match record.status:
            case mapping.WORKER_ENDED:
                is_planned = (record.extra or {}).get("reason") == n.REASON_MAX_TASKS
                reason = n.REASON_MAX_TASKS if is_planned else n.REASON_DIED
                _keep(self._ended, worker, (*self._ended.get(worker, ()), reason))
            case mapping.GONE if record.worker is None:
                reason = n.REASON_DIED
                for ended in [one for one in self._ended if one[:2] == process]:
                    reason = self._ended.pop(ended)[-1]
                if process in self._replaced:
                    self._replaced.remove(process)
                    return reason
                _keep(self._gone, process, reason)
            case mapping.WORKER_REPLACED if kind == WORKER_PROCESS:
                if process in self._gone:
                    return self._gone.pop(process)
                self._replaced.add(process)
            case mapping.WORKER_REPLACED:
                reason, *later = self._ended.pop(worker, (n.REASON_DIED,))
                if later:
                    self._ended[worker] = tuple(later)
                return reason
            case _:
                pass
        return None


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    kept[key] = value
    if len(kept) > _MOST_ENDED:
        del kept[next(iter(kept))]
