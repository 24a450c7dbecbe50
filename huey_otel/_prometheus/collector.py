"""The collector: a sink that counts records, and shows the counts in a registry."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import Any, Final

from prometheus_client.metrics_core import Metric

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._options.buckets import DURATION_BUCKETS, WAIT_BUCKETS
from huey_otel._prometheus.catalog import CATALOG, TASK, Change, Kind, Labels, kind_of
from huey_otel._prometheus.consumers import (
    ConsumerInfo,
    Running,
    of_consumers,
    of_periodic,
    of_runs,
)
from huey_otel._prometheus.counters import (
    Counter,
    Histogram,
    LatestTime,
    RecordCounter,
    RestartCounter,
)
from huey_otel._prometheus.exposition import NumberFamily
from huey_otel._prometheus.periodic import ObservedRuns
from huey_otel._safety.forks import EXCLUSION
from huey_otel._safety.losses import LOSSES
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.events import EVENT_LOST
from huey_otel.mapping import TABLE

_NOTHING: Final[dict[str, Any]] = {}
_KEYS: Final = Kind._fields[2:]
_NAME: Final = TaskFacts._fields.index("name")
_SECONDS: Final = {status: row.seconds for status, row in TABLE.items()}
_LOST: Final = TABLE[EVENT_LOST]
_MOST_KINDS: Final = 10_000
_COUNTERS: Final = {
    n.EVENTS_TOTAL: RecordCounter,
    n.WORKER_RESTARTS_TOTAL: RestartCounter,
}
_OF_TYPE: Final = {"counter": Counter, "gauge": LatestTime}

Update = Callable[[Labels, Change], object]
"""Takes a change into the series of some labels."""


class Collector:
    """Counts for all hueys of one registry; two of one name share their series.

    *enqueued* is what the process enqueued before, by queue, task and origin.
    Its state changes only while EXCLUSION is held: the relay holds it when it
    delivers, and every other method takes it.
    """

    def __init__(
        self,
        *,
        duration_buckets: Sequence[float] = DURATION_BUCKETS,
        wait_buckets: Sequence[float] = WAIT_BUCKETS,
        enqueued: Mapping[Labels, float] = MappingProxyType({}),
    ) -> None:
        bounds = {n.TASK_DURATION_SECONDS: duration_buckets}
        self._running = Running()
        self._periodic = ObservedRuns()
        self._counters: dict[str, Counter] = {}
        self._histograms: list[Histogram] = []
        self._updates: dict[str, Update] = {
            n.TASKS_IN_PROGRESS: self._running.update,
            n.PERIODIC_INTERVAL: self._periodic.update,
        }
        for name, one in CATALOG.items():
            if one.labels_of is None or name in self._updates:
                continue
            metric: Counter | Histogram
            if one.type == "histogram":
                metric = Histogram(one, bounds.get(name, wait_buckets))
                self._histograms.append(metric)
            else:
                metric = (_COUNTERS.get(name) or _OF_TYPE[one.type])(one)
                self._counters[name] = metric
            self._updates[name] = metric.update
        for labels, number in enqueued.items():
            self._counters[n.TASKS_ENQUEUED_TOTAL].add(labels, number)
        self._moves: dict[Kind, list[tuple[Update, Labels]]] = {}
        self._exceptions: set[str] = set()
        self._consumers: dict[int, ConsumerInfo] = {}
        self._tasks: dict[tuple[str, str | None], Labels] = {}
        self._registered: set[Labels] = set()

    def add_consumer(self, number: int, consumer: ConsumerInfo) -> None:
        """Show *consumer*, that of source *number*."""
        with EXCLUSION:
            self._consumers[number] = consumer
            # A registered task has series of its own, before the first scrape too.
            self._registered = self._registered_by(self._consumers.values())

    def remove(self, number: int) -> None:
        """Forget source *number*; its counts stay."""
        with EXCLUSION:
            self._consumers.pop(number, None)
            self._running.forget(number)

    def __call__(self, record: Record, source: Source) -> None:
        """Count *record*, or all that it sums up."""
        status, facts, extra = record.status, record.facts, record.extra
        name = None if facts is None else facts[_NAME]
        task = self._tasks.get((source.queue, name)) or self._task(source.queue, name)
        get = (extra or _NOTHING).get
        named = _SECONDS[status]
        seconds = None if named is None else get(named)
        kind = kind_of((status, task, *map(get, _KEYS)))
        if status == EVENT_LOST:
            # A task that was popped but not started was no attempt.
            outcome = None if seconds is None else _LOST.outcome
            kind = kind._replace(outcome=outcome, final=_LOST.final)
        values = () if seconds is None else ((seconds, 1),)
        number, several = get("number", 1), get("values")
        if several is not None:
            values = tuple(several.items())
        reported = get("count", number)
        change = Change(record, source, number, reported, seconds or 0.0, values)
        moves = self._moves.get(kind)
        if moves is None:
            moves = self._moves_of(kind)
        for update, labels in moves:
            update(labels, change)

    def _moves_of(self, kind: Kind) -> list[tuple[Update, Labels]]:
        """What the mapping says that records of *kind* move."""
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

    def _task(self, queue: str, name: str | None) -> Labels:
        """The labels of a task; past the bound `_other`, unless it is registered."""
        labels = (queue, n.OTHER_TASK if name is None else name)
        if len(self._tasks) >= n.MOST_TASKS and labels not in self._registered:
            return (queue, n.OTHER_TASK)
        self._tasks[queue, name] = labels
        return labels

    def foresee(self) -> None:
        """Compute when periodic tasks are due, which `collect` then only reads."""
        for consumer in list(self._consumers.values()):
            consumer.due()

    @staticmethod
    def _registered_by(consumers: Iterable[ConsumerInfo]) -> set[Labels]:
        return {(one.queue, name) for one in consumers for name in one.tasks()}

    def collect(self) -> Iterator[Metric]:
        """All metrics, from copies made under the lock."""
        consumers = list(self._consumers.values())
        registered = self._registered_by(consumers)
        with EXCLUSION:
            self._registered = registered
            numbers = {name: one.collect() for name, one in self._counters.items()}
            histograms = [one.collect() for one in self._histograms]
            runs = list(self._running)
            periodic = self._periodic.due()
        attempts = numbers[n.TASK_ATTEMPTS_TOTAL].values
        started = [labels[: len(TASK)] for labels in attempts]
        for family in numbers.values():
            _begin_at_zero(family, consumers, registered)
        yield from numbers.values()
        yield from histograms
        read = of_runs(runs, started)
        read |= of_periodic(periodic, consumers) | of_consumers(consumers, runs)
        dropped = {**dict.fromkeys(n.LOSS_REASONS, 0), **LOSSES.counts()}
        read[n.EVENTS_DROPPED_TOTAL] = {
            (reason,): number for reason, number in dropped.items()
        }
        for name, values in read.items():
            yield NumberFamily(CATALOG[name], values)


def _begin_at_zero(
    family: NumberFamily, consumers: Iterable[ConsumerInfo], tasks: Iterable[Labels]
) -> None:
    definition = family.definition
    of_a_task = definition.labels[: len(TASK)] == TASK
    first = tasks if of_a_task else {(one.queue,) for one in consumers}
    for labels, rest in product(first, definition.zeros):
        family.values.setdefault((*labels, *rest), 0)
