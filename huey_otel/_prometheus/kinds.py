"""Kinds of records: those alike in what says which labels the metrics count under."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._prometheus.series import Labels
from huey_otel.events import EVENT_FINISHED, EVENT_LOST
from huey_otel.mapping import TABLE, Published

_FAILURES: Final = (n.OUTCOME_FAILURE, n.OUTCOME_TIMEOUT, n.OUTCOME_LOST)

# How long it took to be refused, canceled, interrupted or lost says nothing of a task.
_DURATION_OUTCOME: Final = {
    n.OUTCOME_SUCCESS: n.OUTCOME_SUCCESS,
    n.OUTCOME_ERROR: n.OUTCOME_ERROR,
    n.OUTCOME_TIMEOUT: n.OUTCOME_ERROR,
}


class Kind(NamedTuple):
    """All that labels are made of. `task` is the labels that every task has."""

    status: str
    task: Labels
    outcome: str | None
    final: str | None
    exception: str | None
    origin: str | None

    @property
    def metrics(self) -> tuple[str, ...]:
        """What records of it move, as the mapping says."""
        row = TABLE[self.status]
        named = row.metrics
        if row.published is not Published.NEVER:
            named += (n.EVENTS_TOTAL,)
        if self.status == EVENT_FINISHED and self.outcome is not None:
            # See `mapping.closes`.
            named += TABLE[mapping.ENDED].metrics
        return named

    @property
    def ending(self) -> str | None:
        """How the attempt ended, if this ends it."""
        lost = self.status == EVENT_LOST
        return TABLE[EVENT_LOST].outcome if lost else self.outcome

    @property
    def result(self) -> str | None:
        """What became of the task, if this is the last of it."""
        lost = self.status == EVENT_LOST
        return TABLE[EVENT_LOST].final if lost else self.final


kind_of: Final[Callable[[tuple[Any, ...]], Kind]] = partial(tuple.__new__, Kind)
"""A Kind of its fields, without a call in Python: each record is asked for its own."""


def _of_task(kind: Kind) -> Labels:
    return kind.task


def _of_queue(kind: Kind) -> Labels:
    return kind.task[:1]


def _with(kind: Kind, value: str | None) -> Labels | None:
    return None if value is None else (*kind.task, value)


LABELS: Final[dict[str, Callable[[Kind], Labels | None]]] = {
    n.TASKS_ENQUEUED_TOTAL: lambda kind: _with(kind, kind.origin or n.ORIGIN_CALL),
    n.TASK_ATTEMPTS_TOTAL: _of_task,
    n.TASK_ATTEMPTS_FINISHED_TOTAL: lambda kind: _with(kind, kind.ending),
    n.TASKS_FINISHED_TOTAL: lambda kind: _with(kind, kind.result),
    n.TASK_RETRIES_TOTAL: _of_task,
    n.TASK_EXCEPTIONS_TOTAL: lambda kind: _with(
        kind, kind.exception or n.OTHER_EXCEPTION
    ),
    n.TASK_DURATION_SECONDS: lambda kind: _with(
        kind, _DURATION_OUTCOME.get(kind.outcome or "")
    ),
    n.TASK_WAIT_SECONDS: _of_task,
    n.TASK_SCHEDULE_DELAY_SECONDS: _of_queue,
    n.TASK_LAST_STARTED: _of_task,
    n.TASK_LAST_SUCCESS: lambda kind: (
        kind.task if kind.result == n.OUTCOME_SUCCESS else None
    ),
    n.TASK_LAST_FAILURE: lambda kind: kind.task if kind.result in _FAILURES else None,
    n.SCHEDULER_LAST_CHECK: _of_queue,
    n.CONSUMER_ERRORS_TOTAL: lambda kind: (
        kind.task[0],
        mapping.kind_of_error(kind.status),
    ),
    n.EVENTS_TOTAL: lambda kind: (kind.task[0], kind.status),
}
"""The labels under which a metric counts records of a kind, None where it does not."""
