"""The attempts that run now, as the metrics show them."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from huey_otel import _names as n
from huey_otel._prometheus.catalog import Change, Labels, Values
from huey_otel.events import EVENT_STARTED


class Run(NamedTuple):
    """One attempt that has started and not ended. `task` is queue and task."""

    task: Labels
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
    """What is seen of *runs*; 0 in progress for a task that has *started* before."""
    now = time.time()
    number: dict[Labels, float] = dict.fromkeys(started, 0)
    age: dict[Labels, float] = {}
    for run in runs:
        number[run.task] = number.get(run.task, 0) + 1
        age[run.task] = max(age.get(run.task, 0.0), now - run.started)
    return {n.TASKS_IN_PROGRESS: number, n.TASK_RUNNING_AGE: age}
