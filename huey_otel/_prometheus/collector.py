"""The metrics: a sink that counts records, and the collector that shows the counts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from huey_otel import _names as n
from huey_otel._prometheus.consumers import RunningConsumer, of_consumers, show_zeros
from huey_otel._prometheus.counters import Tally
from huey_otel._prometheus.in_progress import of_runs
from huey_otel._prometheus.kinds import kind_of
from huey_otel._prometheus.periodic import of_periodic
from huey_otel._prometheus.series import Labels, shown
from huey_otel._safety.forks import EXCLUSION
from huey_otel._safety.losses import LOSSES
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.mapping import TABLE

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_MOST_TASKS: Final = 500
"""Names of tasks that are shown whether or not they are registered."""

_NOTHING: Final[dict[str, Any]] = {}
_NAME: Final = TaskFacts._fields.index("name")
_SECONDS: Final = {status: row.seconds for status, row in TABLE.items()}


class Metrics:
    """Counts for all hueys of one registry; two of one name share their series.

    Its state changes only while EXCLUSION is held: the relay holds it when it
    delivers, and every other method takes it.
    """

    def __init__(
        self,
        *,
        duration_buckets: Sequence[float] = n.DURATION_BUCKETS,
        wait_buckets: Sequence[float] = n.WAIT_BUCKETS,
    ) -> None:
        self._tally = Tally(duration_buckets, wait_buckets)
        self._consumers: dict[int, RunningConsumer] = {}
        self._tasks: dict[tuple[str, str | None], Labels] = {}
        self._registered: set[Labels] = set()

    def add_consumer(self, number: int, consumer: RunningConsumer) -> None:
        """The huey that sends as source *number* runs *consumer* in this process."""
        with EXCLUSION:
            self._consumers[number] = consumer
            # Before the first scrape as well, they are never folded.
            self._registered = self._registered_by(self._consumers.values())

    def remove(self, number: int) -> None:
        """Source *number* sends no more; what it has counted stays."""
        with EXCLUSION:
            self._consumers.pop(number, None)
            self._tally.running.forget(number)

    def seed(self, enqueued: Mapping[Labels, float]) -> None:
        """Add what the process has enqueued before, by queue, task and origin."""
        with EXCLUSION:
            for labels, number in enqueued.items():
                self._tally.numbers[n.TASKS_ENQUEUED_TOTAL].add(labels, number)

    def __call__(self, record: Record, source: Source) -> None:
        """Count *record*, or as many as it sums up."""
        status, facts, extra = record.status, record.facts, record.extra
        name = None if facts is None else facts[_NAME]
        task = self._tasks.get((source.queue, name)) or self._task(source.queue, name)
        get = (extra or _NOTHING).get
        kind = kind_of(
            (
                status,
                task,
                get("outcome"),
                get("final"),
                get("exception"),
                get("origin"),
            )
        )
        named = _SECONDS[status]
        seconds = None if named is None else get(named)
        values = () if seconds is None else ((seconds, 1),)
        number, several = get("number", 1), get("values")
        if several is not None:
            values = tuple(several.items())
        reported = get("count", number)
        self._tally.move(kind, record, source, number, reported, seconds or 0.0, values)

    def _task(self, queue: str, name: str | None) -> Labels:
        """Labels of a task; `_other` past the bound, unless it is registered."""
        labels = (queue, n.OTHER_TASK if name is None else name)
        if len(self._tasks) >= _MOST_TASKS and labels not in self._registered:
            return (queue, n.OTHER_TASK)
        self._tasks[queue, name] = labels
        return labels

    def foresee(self) -> None:
        """Work out when periodic tasks are due, before `collect` has to."""
        for consumer in list(self._consumers.values()):
            consumer.due()

    @staticmethod
    def _registered_by(consumers: Iterable[RunningConsumer]) -> set[Labels]:
        return {(one.queue, name) for one in consumers for name in one.tasks()}

    def collect(self) -> "Iterator[Metric]":
        """All metrics; the numbers are copied first, and rendered without a lock."""
        consumers = list(self._consumers.values())
        registered = self._registered_by(consumers)
        with EXCLUSION:
            self._registered = registered
            numbers = {name: kept.copy() for name, kept in self._tally.numbers.items()}
            histograms = [kept.copy() for kept in self._tally.histograms.values()]
            runs = list(self._tally.running)
            periodic = self._tally.periodic.due()
        ever_started = numbers[n.TASK_ATTEMPTS_TOTAL].above_zero()
        show_zeros(numbers, consumers, registered)
        yield from (family.rendered() for family in numbers.values())
        yield from (histogram.rendered() for histogram in histograms)
        yield from of_runs(runs, ever_started)
        yield from of_periodic(periodic, consumers)
        yield from of_consumers(consumers, runs)
        dropped = {**dict.fromkeys(n.LOSS_REASONS, 0), **LOSSES.counts()}
        yield shown(
            n.EVENTS_DROPPED_TOTAL,
            {(reason,): number for reason, number in dropped.items()},
        )
