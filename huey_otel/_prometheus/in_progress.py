"""What is in progress: the attempts that run, and how long workers have been busy."""

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, NamedTuple

from huey_otel import _names as n
from huey_otel._prometheus.catalog import Labels, Values
from huey_otel._wire.record import Record
from huey_otel.events import EVENT_STARTED

Worker = tuple[int, int, str | None]
"""A worker by its source, process and name."""


class Run(NamedTuple):
    """One attempt that has started and not ended. `task` is queue and task.

    `workers` are the labels of the worker's kind, None if no worker runs it. `began` is
    a time of the monotonic clock, `started` Unix seconds.
    """

    task: Labels
    workers: Labels | None
    started: float
    began: float


_run_of: Final[Callable[[tuple[Any, ...]], Run]] = partial(tuple.__new__, Run)
"""Makes a Run without a Python call, as each attempt needs one."""

_NO_WORKERS: Final = (None, n.SCHEDULER)


class Running:
    """Follows `started`, `ended` and `lost`. Not thread-safe.

    An attempt whose start was summed up is not shown while it runs, and its end
    changes no gauge, so that none is ever less than 0.
    """

    def __init__(self) -> None:
        # By key; those after the first of a worker are nested in it.
        self._runs: dict[Worker, dict[int, Run]] = {}
        self._seconds: dict[Labels, float] = {}
        self._shown: dict[Labels, float] = {}

    def follow(
        self, task: Labels, kind: str | None, record: Record, seconds: float | None
    ) -> None:
        """An attempt at *task* has started, or ended after *seconds* if it says so.

        *kind* is that of the workers here, None if there are none.
        """
        key, name = record.key, record.worker
        worker = (record.source, record.pid, name)
        runs = self._runs.get(worker)
        # A record that sums others up has no key, and names none of their workers.
        workers = None
        if kind is not None and (name not in _NO_WORKERS or not key):
            workers = (task[0], kind)
        if record.status == EVENT_STARTED:
            if key:
                if runs is None:
                    runs = self._runs[worker] = {}
                now = time.monotonic()
                runs[key] = _run_of((task, workers, record.timestamp, now))
            return
        run, outermost = None, True
        # Without any its start was summed up.
        if runs is not None:
            outermost = next(iter(runs)) == key
            run = runs.pop(key, None)
            if not runs:
                del self._runs[worker]
        if workers is not None and outermost:
            if seconds is None:
                seconds = 0.0 if run is None else time.monotonic() - run.began
            self._seconds[workers] = self._seconds.get(workers, 0.0) + seconds

    def forget(self, number: int) -> None:
        """Forget the attempts of source *number*; their workers were busy until now."""
        _, self._seconds = self._busy()
        self._runs = {
            worker: runs for worker, runs in self._runs.items() if worker[0] != number
        }

    def values(self, started: Iterable[Labels]) -> Values:
        """What is shown; 0 in progress for a task that has *started* before."""
        now = time.time()
        number: dict[Labels, float] = dict.fromkeys(started, 0)
        age: dict[Labels, float] = {}
        for runs in self._runs.values():
            for run in runs.values():
                number[run.task] = number.get(run.task, 0) + 1
                age[run.task] = max(age.get(run.task, 0.0), now - run.started)
        busy, seconds = self._busy()
        return {
            n.TASKS_IN_PROGRESS: number,
            n.TASK_RUNNING_AGE: age,
            n.WORKERS_BUSY: busy,
            n.WORKER_BUSY_SECONDS_TOTAL: seconds,
        }

    def _busy(self) -> tuple[dict[Labels, float], dict[Labels, float]]:
        """How many workers are busy, and for how long all were, by kind.

        A run counts until now, and its end is read a moment after it: what was shown
        before stays until the sum has passed it.
        """
        now = time.monotonic()
        busy: dict[Labels, float] = {}
        seconds = self._seconds.copy()
        for runs in self._runs.values():
            _, workers, _, began = next(iter(runs.values()))
            if workers is not None:
                busy[workers] = busy.get(workers, 0) + 1
                seconds[workers] = seconds.get(workers, 0.0) + now - began
        for workers, total in seconds.items():
            self._shown[workers] = max(total, self._shown.get(workers, 0.0))
        return busy, self._shown.copy()
