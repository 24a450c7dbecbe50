"""The attempts that run now, as the metrics show them."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from huey_otel import _names as n
from huey_otel._prometheus.series import Labels, shown
from huey_otel._wire.record import Record, Source

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class Run(NamedTuple):
    """One attempt that has started and not ended."""

    queue: str
    task: str
    worker_type: str | None
    worker: tuple[int, int, str | None]
    started: float


class Running:
    """Follows `started`, `ended` and `lost`. Not thread-safe.

    Keyed by source, process and sequence. The end of an attempt whose start
    was summed up changes nothing, so nothing is ever less than 0; such an
    attempt is not shown while it runs.
    """

    def __init__(self) -> None:
        self._runs: dict[tuple[int, int, int], tuple[Record, Source, Labels]] = {}

    def start(self, record: Record, source: Source, task: Labels) -> None:
        """*record* is a `started` one, of an attempt at *task*."""
        if record.key:
            key = (record.source, record.pid, record.key)
            self._runs[key] = (record, source, task)

    def end(self, record: Record, *_: object) -> None:
        """*record* says that its attempt runs no more."""
        self._runs.pop((record.source, record.pid, record.key), None)

    def forget(self, number: int) -> None:
        """Nothing more will be said of the attempts of source *number*."""
        self._runs = {key: run for key, run in self._runs.items() if key[0] != number}

    def __iter__(self) -> Iterator[Run]:
        for record, source, task in self._runs.values():
            queue, name = task
            yield Run(
                *(queue, name, source.worker_type),
                (record.source, record.pid, record.worker),
                record.timestamp,
            )


def of_runs(runs: Iterable[Run], started: Iterable[Labels]) -> "Iterator[Metric]":
    """What is seen of *runs*; 0 in progress for a task that has *started* before."""
    now = time.time()
    number: dict[Labels, float] = dict.fromkeys(started, 0)
    age: dict[Labels, float] = {}
    for run in runs:
        labels = (run.queue, run.task)
        number[labels] = number.get(labels, 0) + 1
        age[labels] = max(age.get(labels, 0.0), now - run.started)
    yield shown(n.TASKS_IN_PROGRESS, number)
    yield shown(n.TASK_RUNNING_AGE, age)
