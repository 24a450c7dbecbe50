"""The collector: a sink that counts records, and shows the counts in a registry."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from prometheus_client.metrics_core import Metric

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._options.buckets import DURATION_BUCKETS, WAIT_BUCKETS
from huey_otel._prometheus.catalog import CATALOG, TASK, Kind, Labels
from huey_otel._prometheus.consumers import ConsumerInfo, of_consumers, of_periodic
from huey_otel._prometheus.exposition import NumberFamily
from huey_otel._prometheus.in_progress import Running
from huey_otel._prometheus.periodic import ObservedRuns
from huey_otel._prometheus.series import (
    Histogram,
    Number,
    Numbers,
    Observations,
    Restarts,
)
from huey_otel._safety.forks import EXCLUSION
from huey_otel._safety.losses import LOSSES, REASONS
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.events import EVENT_LOST
from huey_otel.mapping import TABLE

_NOTHING: Final[dict[str, Any]] = {}
_NAME: Final = TaskFacts._fields.index("name")
_LOST: Final = TABLE[EVENT_LOST]
_MOST_KINDS: Final = 10_000
_UNCOUNTED: Final = frozenset(one for one in TABLE if not mapping.metrics_of(one, None))
"""Statuses of records that move no metric."""


class Moves(NamedTuple):
    """What records of one kind move, found once.

    They add to `counts` what they report, of which one may be many; `events` is the one
    of these that counts records. They set `latest` to their time. Their extra key
    `named` has the seconds that `observed` take. What else they change `follows` them.
    """

    counts: list[Number]
    events: Number | None
    latest: list[Number]
    named: str
    observed: list[Observations]
    follows: Sequence[Callable[[Record, float | None], object]]


class _Past(NamedTuple):
    """What ran here before, whose counters go on at what they were, also at 0."""

    queues: set[str]
    tasks: set[Labels]
    workers: set[Labels]


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
        restarts = Restarts(CATALOG[n.WORKER_RESTARTS_TOTAL])
        self._numbers: dict[str, Numbers] = {n.WORKER_RESTARTS_TOTAL: restarts}
        self._histograms: dict[str, Histogram] = {}
        self._followers: dict[str, Callable[..., None]] = {
            n.TASKS_IN_PROGRESS: self._running.follow,
            n.PERIODIC_INTERVAL: self._periodic.follow,
            n.WORKER_RESTARTS_TOTAL: restarts.follow,
        }
        for name, one in CATALOG.items():
            if one.labels_of is None or name in self._followers:
                continue
            if one.type == "histogram":
                buckets = bounds.get(name, wait_buckets)
                self._histograms[name] = Histogram(one, buckets)
            else:
                self._numbers[name] = Numbers(one)
        for labels, number in enqueued.items():
            self._numbers[n.TASKS_ENQUEUED_TOTAL].cell(labels).value += number
        self._moves: dict[tuple[Any, ...], Moves] = {}
        self._exceptions: set[str] = set()
        self._consumers: dict[int, ConsumerInfo] = {}
        self._tasks: set[Labels] = set()
        self._registered: set[Labels] = set()
        self._past = _Past(set(), set(), set())

    def add_consumer(self, number: int, consumer: ConsumerInfo) -> None:
        """Show *consumer*, that of source *number*."""
        with EXCLUSION:
            self._consumers[number] = consumer
            # A registered task has series of its own, before the first scrape too.
            self._register(self._registered_by(self._consumers.values()))

    def remove(self, number: int) -> None:
        """Forget source *number*; its counts stay."""
        with EXCLUSION:
            gone = self._consumers.pop(number, None)
            self._running.forget(number)
        if gone is not None:
            self._past.queues.add(gone.queue)
            self._past.tasks.update(self._registered_by([gone]))
            self._past.workers.add((gone.queue, gone.worker_type))

    def __call__(self, record: Record, source: Source) -> None:
        """Count *record*, or all that it sums up."""
        status = record.status
        if status in _UNCOUNTED:
            return
        facts, extra = record.facts, record.extra or _NOTHING
        get = extra.get
        kind = (
            status,
            source.queue,
            source.worker_type,
            None if facts is None else facts[_NAME],
            "duration" in extra,
            get("outcome"),
            get("final"),
            get("exception"),
            get("origin"),
        )
        moves = self._moves.get(kind) or self._moves_of(kind)
        counts, _, latest, named, observed, follows = moves
        seconds = get(named)
        if "count" in extra:
            _add(extra, moves)
        else:
            for cell in counts:
                cell.value += 1
            if seconds is not None:
                for observations in observed:
                    observations.observe(seconds, record)
        for cell in latest:
            # Records of several workers come in any order.
            if record.timestamp > cell.value:
                cell.value = record.timestamp
        for follow in follows:
            follow(record, seconds)

    def _moves_of(self, key: tuple[Any, ...]) -> Moves:
        """What the mapping says that records of a kind move."""
        if len(self._moves) >= _MOST_KINDS:
            self._moves.clear()
        status, queue, worker_type, task, timed, *rest = key
        kind = Kind(status, self._task(queue, task), *rest)
        if status == EVENT_LOST:
            # A task that was popped but not started was no attempt.
            outcome = _LOST.outcome if timed else None
            kind = kind._replace(outcome=outcome, final=_LOST.final)
        counts, latest, observed, follows = [], [], [], []
        events = None
        for name in mapping.metrics_of(status, kind.outcome):
            labels_of = CATALOG[name].labels_of
            labels = None if labels_of is None else labels_of(kind)
            if labels is None:
                continue
            if name == n.TASK_EXCEPTIONS_TOTAL:
                labels = self._bounded(labels)
            if name in self._followers:
                follows.append(partial(self._followers[name], labels, worker_type))
            elif name in self._histograms:
                observed.append(self._histograms[name].cell(labels))
            elif CATALOG[name].type == "gauge":
                latest.append(self._numbers[name].cell(labels))
            else:
                cell = self._numbers[name].cell(labels)
                counts.append(cell)
                events = cell if name == n.EVENTS_TOTAL else events
        named = TABLE[status].seconds or ""
        moves = Moves(counts, events, latest, named, observed, follows)
        return self._moves.setdefault(key, moves)

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
        if labels not in self._tasks:
            if len(self._tasks) >= n.MOST_TASKS and labels not in self._registered:
                return (queue, n.OTHER_TASK)
            self._tasks.add(labels)
        return labels

    def foresee(self) -> None:
        """Find out what takes long, and what `collect` then only reads.

        When periodic tasks are due, and what is stuck, which is known for a second
        then; and a resource may be detected over the network.
        """
        for consumer in list(self._consumers.values()):
            consumer.due()
            consumer.stuck()
            consumer.service_version()

    def _register(self, tasks: set[Labels]) -> None:
        if tasks != self._registered:
            self._registered = tasks
            # What moves the series of `_other` may have one of its own now.
            self._moves.clear()

    @staticmethod
    def _registered_by(consumers: Iterable[ConsumerInfo]) -> set[Labels]:
        return {(one.queue, name) for one in consumers for name in one.tasks()}

    def collect(self) -> Iterator[Metric]:
        """All metrics, from copies made under the lock."""
        consumers = list(self._consumers.values())
        registered = self._registered_by(consumers)
        with EXCLUSION:
            self._register(registered)
            numbers = {name: one.collect() for name, one in self._numbers.items()}
            histograms = [one.collect() for one in self._histograms.values()]
            running = self._running.values(numbers[n.TASK_ATTEMPTS_TOTAL].values)
            periodic = self._periodic.due()
        past = self._past
        queues = {one.queue for one in consumers} | past.queues
        for family in numbers.values():
            _begin_at_zero(family, queues, registered | past.tasks)
        yield from numbers.values()
        yield from histograms
        read = running | of_periodic(periodic, consumers)
        read |= of_consumers(consumers, running)
        for workers in past.workers:
            read[n.WORKER_BUSY_SECONDS_TOTAL].setdefault(workers, 0)
        read[n.TELEMETRY_DROPPED_TOTAL] = _dropped(queues)
        for name, values in read.items():
            yield NumberFamily(CATALOG[name], values)


def _add(extra: dict[str, Any], moves: Moves) -> None:
    """Count a record that reports several errors, or sums up several records."""
    for cell in moves.counts:
        cell.value += extra.get("number", 1) if cell is moves.events else extra["count"]
    if extra.get("values"):
        for observations in moves.observed:
            observations.add(extra["values"], extra[moves.named])


def _dropped(queues: Iterable[str]) -> dict[Labels, float]:
    """All losses, by queue, signal and reason; 0 for those that may come."""
    dropped: dict[Labels, float] = {
        (queue, loss.signal, reason): 0
        for reason, loss in REASONS.items()
        for queue in (queues if loss.of_queue else ("",))
    }
    for (queue, reason), number in LOSSES.by_queue().items():
        dropped[queue, REASONS[reason].signal, reason] = number
    return dropped


def _begin_at_zero(
    family: NumberFamily, queues: Iterable[str], tasks: Iterable[Labels]
) -> None:
    definition = family.definition
    of_a_task = definition.labels[: len(TASK)] == TASK
    first = tasks if of_a_task else {(queue,) for queue in queues}
    for labels, rest in product(first, definition.zeros):
        family.values.setdefault((*labels, *rest), 0)
