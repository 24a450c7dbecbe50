"""The consumers of this process: their gauges on the metrics page."""

import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import huey

from huey_otel import _names as n
from huey_otel._prometheus.catalog import Labels, Values
from huey_otel._prometheus.in_progress import Run
from huey_otel._prometheus.periodic import Due

_SCHEDULER: Final = "Scheduler"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerInfo:
    """A running consumer. `started` is in Unix seconds.

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
    def labels(self) -> Labels:
        """Labels of huey_consumer_info."""
        return (
            self.queue,
            importlib.metadata.version(n.DISTRIBUTION),
            str(huey.__version__),
            platform.python_version(),
            self.worker_type,
            "true" if self.periodic else "false",
        )


def of_consumers(consumers: Sequence[ConsumerInfo], runs: Iterable[Run]) -> Values:
    """Workers, those that are busy with *runs*, versions and start."""
    workers: dict[Labels, float] = {}
    started: dict[Labels, float] = {}
    for consumer in consumers:
        labels = (consumer.queue, consumer.worker_type)
        workers[labels] = workers.get(labels, 0) + consumer.workers
        first = started.get((consumer.queue,), consumer.started)
        started[consumer.queue,] = min(first, consumer.started)
    busy: dict[Labels, set[object]] = {labels: set() for labels in workers}
    for run in runs:
        if run.worker_type is not None and run.worker[-1] not in (None, _SCHEDULER):
            busy.setdefault((run.task[0], run.worker_type), set()).add(run.worker)
    return {
        n.WORKERS: workers,
        n.WORKERS_BUSY: {labels: len(those) for labels, those in busy.items()},
        n.CONSUMER_INFO: {consumer.labels: 1 for consumer in consumers},
        n.CONSUMER_START_TIME: started,
    }


def of_periodic(
    observed: Mapping[Labels, Due], consumers: Iterable[ConsumerInfo]
) -> Values:
    """When tasks of *consumers* are due, and *observed* of others."""
    known = dict(observed)
    for consumer in consumers:
        for name, due in consumer.due().items():
            known[consumer.queue, name] = due
    return {
        n.PERIODIC_INTERVAL: {task: due.interval for task, due in known.items()},
        n.PERIODIC_NEXT_RUN: {task: due.next_run for task, due in known.items()},
    }
