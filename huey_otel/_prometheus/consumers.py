"""The consumers of this process: what they say of themselves on the metrics page."""

import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import huey

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._prometheus.calendar import Due
from huey_otel._prometheus.in_progress import Run
from huey_otel._prometheus.series import Labels, Numbers, shown
from huey_otel.mapping import TABLE, Published

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_SCHEDULER: Final = "Scheduler"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningConsumer:
    """What a consumer says of itself when it starts. `started` in Unix seconds.

    *tasks* gives the dotted paths that are registered, whenever it is called, and
    *due* when the periodic ones are due, as far as it is known without their runs.
    """

    queue: str
    worker_type: str
    workers: int
    periodic: bool
    started: float
    tasks: Callable[[], Iterable[str]]
    due: Callable[[], Mapping[str, Due]] = dict

    @property
    def info(self) -> Labels:
        """Labels of huey_consumer_info."""
        return (
            self.queue,
            importlib.metadata.version(n.DISTRIBUTION),
            str(huey.__version__),
            platform.python_version(),
            self.worker_type,
            "true" if self.periodic else "false",
        )


def of_consumers(
    consumers: Sequence[RunningConsumer], runs: Iterable[Run]
) -> "Iterator[Metric]":
    """Workers, those that are busy with *runs*, versions and start."""
    workers: dict[Labels, float] = {}
    started: dict[Labels, float] = {}
    for consumer in consumers:
        kind = (consumer.queue, consumer.worker_type)
        workers[kind] = workers.get(kind, 0) + consumer.workers
        first = started.get((consumer.queue,), consumer.started)
        started[consumer.queue,] = min(first, consumer.started)
    busy: dict[Labels, set[object]] = {kind: set() for kind in workers}
    for run in runs:
        if run.worker_type is not None and run.worker[-1] not in (None, _SCHEDULER):
            busy.setdefault((run.queue, run.worker_type), set()).add(run.worker)
    yield shown(n.WORKERS, workers)
    yield shown(n.WORKERS_BUSY, {kind: len(who) for kind, who in busy.items()})
    yield shown(n.CONSUMER_INFO, {consumer.info: 1 for consumer in consumers})
    yield shown(n.CONSUMER_START_TIME, started)


def show_zeros(
    numbers: Mapping[str, Numbers],
    consumers: Iterable[RunningConsumer],
    tasks: Iterable[Labels],
) -> None:
    """Begin at 0 what a first increase should be seen of."""
    for task in tasks:
        numbers[n.TASKS_ENQUEUED_TOTAL].show((*task, n.ORIGIN_CALL))
        numbers[n.TASK_ATTEMPTS_TOTAL].show(task)
        numbers[n.TASKS_FINISHED_TOTAL].show((*task, n.OUTCOME_SUCCESS))
        numbers[n.TASKS_FINISHED_TOTAL].show((*task, n.OUTCOME_FAILURE))
        numbers[n.TASK_RETRIES_TOTAL].show(task)
    for consumer in consumers:
        for reason in (n.REASON_DIED, n.REASON_MAX_TASKS):
            numbers[n.WORKER_RESTARTS_TOTAL].show((consumer.queue, reason))
        for status, row in TABLE.items():
            if n.CONSUMER_ERRORS_TOTAL in row.metrics:
                kind = mapping.kind_of_error(status)
                numbers[n.CONSUMER_ERRORS_TOTAL].show((consumer.queue, kind))
            if row.published is Published.ALWAYS:
                numbers[n.EVENTS_TOTAL].show((consumer.queue, status))
