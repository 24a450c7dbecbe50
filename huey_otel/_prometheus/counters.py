"""The counters: the series that records move, by the mapping and the catalog."""

from collections.abc import Callable, Sequence
from typing import Final

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._prometheus.catalog import CATALOG, Kind, Labels
from huey_otel._prometheus.in_progress import Running
from huey_otel._prometheus.periodic import ObservedRuns
from huey_otel._prometheus.restarts import Restarts
from huey_otel._prometheus.series import (
    Change,
    Counter,
    Histogram,
    LatestTime,
    RecordCounter,
)
from huey_otel._wire.record import Record, Source

_CLASSES: Final = {"counter": Counter, "gauge": LatestTime}
_MOST_EXCEPTIONS: Final = 50
_MOST_KINDS: Final = 10_000

Update = Callable[[Labels, Change], object]


class Counters:
    """All series that records move. Not thread-safe."""

    def __init__(self, duration_bounds: Sequence[float], wait_bounds: Sequence[float]):
        bounds = {n.TASK_DURATION_SECONDS: duration_bounds}
        self.running = Running()
        self.periodic = ObservedRuns()
        self.counters: dict[str, Counter] = {
            n.WORKER_RESTARTS_TOTAL: Restarts(CATALOG[n.WORKER_RESTARTS_TOTAL]),
            n.EVENTS_TOTAL: RecordCounter(CATALOG[n.EVENTS_TOTAL]),
        }
        self.histograms: dict[str, Histogram] = {}
        updates: dict[str, Update] = {
            n.TASKS_IN_PROGRESS: self.running.update,
            n.PERIODIC_INTERVAL: self.periodic.update,
        }
        for name, one in CATALOG.items():
            if one.labels_of is None or name in updates:
                continue
            if one.type == "histogram":
                self.histograms[name] = Histogram(one, bounds.get(name, wait_bounds))
                updates[name] = self.histograms[name].update
            else:
                self.counters.setdefault(name, _CLASSES[one.type](one))
                updates[name] = self.counters[name].update
        self._updates = updates
        self._exceptions: set[str] = set()
        self._moves: dict[Kind, list[tuple[Update, Labels]]] = {}

    def move(
        self,
        kind: Kind,
        record: Record,
        source: Source,
        number: int,
        reported: int,
        seconds: float,
        values: Sequence[tuple[float, int]],
    ) -> None:
        """Count *number* records of *kind* in all metrics that the mapping names."""
        change = Change(record, source, number, reported, seconds, values)
        for update, labels in self._moves.get(kind) or self._moves_of(kind):
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
            if len(self._exceptions) >= _MOST_EXCEPTIONS:
                return (*task, n.OTHER_EXCEPTION)
            self._exceptions.add(name)
        return labels
