"""The counters: the numbers that records move, under all labels. Not thread-safe.

`update` takes a change in, `collect` returns a copy that may be shown.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from huey.constants import WORKER_PROCESS
from prometheus_client.samples import Exemplar

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._prometheus.catalog import CATALOG, Change, Definition, Kind, Labels
from huey_otel._prometheus.consumers import Running
from huey_otel._prometheus.exposition import Buckets, HistogramFamily, NumberFamily
from huey_otel._prometheus.periodic import ObservedRuns
from huey_otel._wire.record import Record, Source, TaskFacts

K = TypeVar("K")

_MOST_KINDS: Final = 10_000
_MOST_ENDED: Final = 1_000
_TRACE_ID: Final = TaskFacts._fields.index("trace_id")
_SPAN_ID: Final = TaskFacts._fields.index("span_id")

Update = Callable[[Labels, Change], object]


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


_OF_TYPE: Final = {"counter": Counter, "gauge": LatestTime}
_SPECIAL: Final = {
    n.EVENTS_TOTAL: RecordCounter,
    n.WORKER_RESTARTS_TOTAL: RestartCounter,
}


class Counters:
    """All series that records move. Not thread-safe."""

    def __init__(self, duration_bounds: Sequence[float], wait_bounds: Sequence[float]):
        bounds = {n.TASK_DURATION_SECONDS: duration_bounds}
        self.running = Running()
        self.periodic = ObservedRuns()
        self.counters: dict[str, Counter] = {}
        self.histograms: dict[str, Histogram] = {}
        self._updates: dict[str, Update] = {
            n.TASKS_IN_PROGRESS: self.running.update,
            n.PERIODIC_INTERVAL: self.periodic.update,
        }
        for name, one in CATALOG.items():
            if one.labels_of is None or name in self._updates:
                continue
            metric: Counter | Histogram
            if one.type == "histogram":
                metric = Histogram(one, bounds.get(name, wait_bounds))
                self.histograms[name] = metric
            else:
                metric = (_SPECIAL.get(name) or _OF_TYPE[one.type])(one)
                self.counters[name] = metric
            self._updates[name] = metric.update
        self._exceptions: set[str] = set()
        self._moves: dict[Kind, list[tuple[Update, Labels]]] = {}

    def move(self, kind: Kind, change: Change) -> None:
        """Take *change* in, of records of *kind*, where the mapping says."""
        moves = self._moves.get(kind)
        if moves is None:
            moves = self._moves_of(kind)
        for update, labels in moves:
            update(labels, change)

    def _moves_of(self, kind: Kind) -> list[tuple[Update, Labels]]:
        """What records of *kind* move, worked out once for all of them."""
        if len(self._moves) >= _MOST_KINDS:
            self._moves.clear()
        moves = self._moves[kind] = []
        for name in mapping.metrics_of(kind.status, kind.outcome):
            labels_of = CATALOG[name].labels_of
            labels = None if labels_of is None else labels_of(kind)
            if labels is not None:
                if name == n.TASK_EXCEPTIONS_TOTAL:
                    labels = self._bounded(labels)
                moves.append((self._updates[name], labels))
        return moves

    def _bounded(self, labels: Labels) -> Labels:
        *task, name = labels
        if name not in self._exceptions:
            if len(self._exceptions) >= n.MOST_EXCEPTIONS:
                return (*task, n.OTHER_EXCEPTION)
            self._exceptions.add(name)
        return labels
