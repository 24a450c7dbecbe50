"""The counters: what each type of metric does with a change. Not thread-safe.

`update` takes a change in, `collect` returns a copy that may be shown.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, TypeVar

from huey.constants import WORKER_PROCESS
from prometheus_client.samples import Exemplar

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._prometheus.catalog import Change, Definition, Labels
from huey_otel._prometheus.exposition import Buckets, HistogramFamily, NumberFamily
from huey_otel._wire.record import Record, Source, TaskFacts

K = TypeVar("K")

_MOST_ENDED: Final = 1_000
_TRACE_ID: Final = TaskFacts._fields.index("trace_id")
_SPAN_ID: Final = TaskFacts._fields.index("span_id")


class Counter:
    """A counter of what records report."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._values: dict[Labels, float] = {}

    def update(self, labels: Labels, change: Change) -> None:
        """Count what was reported."""
        self._values[labels] = self._values.get(labels, 0) + change.reported

    def add(self, labels: Labels, number: float = 1) -> None:
        """Add *number*."""
        self._values[labels] = self._values.get(labels, 0) + number

    def collect(self) -> NumberFamily:
        """The numbers as they are now."""
        return NumberFamily(self._definition, self._values.copy())


class RecordCounter(Counter):
    """A counter of records, one of which may report several errors."""

    def update(self, labels: Labels, change: Change) -> None:
        """Count the records."""
        self._values[labels] = self._values.get(labels, 0) + change.number


class RestartCounter(Counter):
    """A counter of workers that huey replaced, by the reason why they had ended.

    A forked worker's `worker-ended` is read before its `gone`, while
    `worker-replaced`, which the main process sends, may come before both. A thread
    has no `gone`. A worker without `worker-ended` has died.
    """

    def __init__(self, definition: Definition) -> None:
        super().__init__(definition)
        self._ended: dict[tuple[int, int, str | None], str] = {}
        self._gone: dict[tuple[int, int], str] = {}
        self._replaced: set[tuple[int, int]] = set()

    def update(self, labels: Labels, change: Change) -> None:
        """Count a restart once its reason is known, which takes several records."""
        reason = self._reason_after(change.record, change.source)
        if reason is not None:
            self.add((*labels, reason))

    def _reason_after(self, record: Record, source: Source) -> str | None:
        process = (record.source, record.pid)
        worker = (*process, record.worker)
        match record.status:
            case mapping.WORKER_ENDED:
                is_planned = (record.extra or {}).get("reason") == n.REASON_MAX_TASKS
                reason = n.REASON_MAX_TASKS if is_planned else n.REASON_DIED
                _keep(self._ended, worker, reason)
            case mapping.GONE if record.worker is None:
                reason = n.REASON_DIED
                for ended in [one for one in self._ended if one[:2] == process]:
                    reason = self._ended.pop(ended)
                if process in self._replaced:
                    self._replaced.remove(process)
                    return reason
                _keep(self._gone, process, reason)
            case mapping.WORKER_REPLACED if source.worker_type == WORKER_PROCESS:
                if process in self._gone:
                    return self._gone.pop(process)
                self._replaced.add(process)
            case mapping.WORKER_REPLACED:
                return self._ended.pop(worker, n.REASON_DIED)
            case _:
                pass
        return None


def _keep(kept: dict[K, str], key: K, value: str) -> None:
    kept[key] = value
    if len(kept) > _MOST_ENDED:
        del kept[next(iter(kept))]


class LatestTime(Counter):
    """A gauge of when something last happened."""

    def update(self, labels: Labels, change: Change) -> None:
        """Never go back: records of several workers come in any order."""
        if change.record.timestamp > self._values.get(labels, 0.0):
            self._values[labels] = change.record.timestamp


class Histogram:
    """A histogram with a bucket up to each of *bounds*."""

    def __init__(self, definition: Definition, bounds: Sequence[float]) -> None:
        self._definition = definition
        self._bounds = bounds
        self._values: dict[Labels, Buckets] = {}
        self._copies: dict[Labels, Buckets] = {}

    def update(self, labels: Labels, change: Change) -> None:
        """Observe the seconds."""
        if not change.values:
            return
        buckets = self._values.get(labels)
        if buckets is None:
            buckets = self._values[labels] = Buckets([0] * (len(self._bounds) + 1))
        self._copies.pop(labels, None)
        buckets.seconds += change.seconds
        exemplar = _exemplar(change)
        for value, times in change.values:
            bucket = bisect_left(self._bounds, value)
            buckets.counts[bucket] += times
            if exemplar is not None:
                buckets.exemplars[bucket] = exemplar

    def collect(self) -> HistogramFamily:
        """The numbers as they are now; most have not changed since the last scrape."""
        for labels, buckets in self._values.items():
            if labels not in self._copies:
                copy = self._copies[labels] = Buckets(buckets.counts.copy())
                copy.seconds = buckets.seconds
                copy.exemplars = buckets.exemplars.copy()
        return HistogramFamily(self._definition, self._bounds, self._copies.copy())


def _exemplar(change: Change) -> Exemplar | None:
    """The trace of the record, if its span is sampled."""
    facts = change.record.facts
    if facts is None or not facts[_TRACE_ID] or not facts[_SPAN_ID]:
        return None
    labels = {"trace_id": facts[_TRACE_ID], "span_id": facts[_SPAN_ID]}
    return Exemplar(labels, change.seconds, change.record.timestamp)
