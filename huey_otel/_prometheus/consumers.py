"""What runs here: the gauges of consumers, their attempts and periodic tasks."""

import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import huey

from huey_otel import _names as n
from huey_otel._prometheus.catalog import Change, Labels, Values
from huey_otel._prometheus.periodic import Due
from huey_otel.events import EVENT_STARTED


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerInfo:
    """A running consumer. `started` is in Unix seconds.

    *tasks* returns the dotted paths of the registered tasks, *due* when the periodic
    ones are due, where their crontab says it.
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


class Run(NamedTuple):
    """One attempt that has started and not ended. `task` is queue and task."""

    task: Labels
    worker_type: str | None
    worker: tuple[int, int, str | None]
    started: float


class Running:
    """Follows `started`, `ended` and `lost`. Not thread-safe.

    An attempt whose start was summed up is not shown while it runs, and its end
    changes nothing, so that no gauge is ever less than 0.
    """

    def __init__(self) -> None:
        # By source, process and sequence.
        self._runs: dict[tuple[int, int, int], Run] = {}

    def update(self, task: Labels, change: Change) -> None:
        """An attempt at *task* has started or ended."""
        record = change.record
        key = (record.source, record.pid, record.key)
        if record.status != EVENT_STARTED:
            self._runs.pop(key, None)
        elif record.key:
            worker = (record.source, record.pid, record.worker)
            worker_type = change.source.worker_type
            self._runs[key] = Run(task, worker_type, worker, record.timestamp)

    def forget(self, number: int) -> None:
        """Forget the attempts of source *number*."""
        self._runs = {key: run for key, run in self._runs.items() if key[0] != number}

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs.values())


def of_runs(runs: Iterable[Run], started: Iterable[Labels]) -> Values:
    """The gauges of *runs*; 0 in progress for a task that has *started* before."""
    now = time.time()
    number: dict[Labels, float] = dict.fromkeys(started, 0)
    age: dict[Labels, float] = {}
    for run in runs:
        number[run.task] = number.get(run.task, 0) + 1
        age[run.task] = max(age.get(run.task, 0.0), now - run.started)
    return {n.TASKS_IN_PROGRESS: number, n.TASK_RUNNING_AGE: age}


def of_consumers(consumers: Sequence[ConsumerInfo], runs: Iterable[Run]) -> Values:
    """The gauges of *consumers*, of which some workers are busy with *runs*."""
    workers: dict[Labels, float] = {}
    started: dict[Labels, float] = {}
    for consumer in consumers:
        labels = (consumer.queue, consumer.worker_type)
        workers[labels] = workers.get(labels, 0) + consumer.workers
        first = started.get((consumer.queue,), consumer.started)
        started[consumer.queue,] = min(first, consumer.started)
    busy: dict[Labels, set[object]] = {labels: set() for labels in workers}
    for run in runs:
        if run.worker_type is not None and run.worker[-1] not in (None, n.SCHEDULER):
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
    """When periodic tasks are due: those of *consumers*, and others as *observed*."""
    known = dict(observed)
    for consumer in consumers:
        for name, due in consumer.due().items():
            known[consumer.queue, name] = due
    return {
        n.PERIODIC_INTERVAL: {task: due.interval for task, due in known.items()},
        n.PERIODIC_NEXT_RUN: {task: due.next_run for task, due in known.items()},
    }
