"""The catalog: every metric, its labels, and which records it counts under them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._wire.record import Record, Source
from huey_otel.mapping import TABLE, Published

Labels = tuple[str, ...]
"""Values of labels, in the order of the definition."""

Values = dict[str, dict[Labels, float]]
"""Numbers, by metric and labels."""


class Kind(NamedTuple):
    """The parts of a record that decide labels: equal kinds move the same series.

    `task` is the queue and the task, `outcome` how the attempt ended, `final` how the
    task did. From `outcome` on the fields are extra keys of the record, COUNTED_BY in
    `_wire/record.py`.
    """

    status: str
    task: Labels
    outcome: str | None
    final: str | None
    exception: str | None
    origin: str | None


kind_of: Final[Callable[[tuple[Any, ...]], Kind]] = partial(tuple.__new__, Kind)
"""Makes a Kind without a Python call, as each record needs one."""


class Change(NamedTuple):
    """What *number* records of one kind, such as *record*, add to the metrics.

    `reported` and `seconds` are sums; `values` are seconds, with how often each was.
    """

    record: Record
    source: Source
    number: int
    reported: int
    seconds: float
    values: Sequence[tuple[float, int]]


class Definition(NamedTuple):
    """What a metric is. `type` is prometheus_client's word for it.

    `labels_of` returns the labels under which it counts records of a kind, None if it
    counts none. A metric without it is computed when it is collected. `zeros` are
    labels that begin at 0 for each queue or registered task, so that `increase()` sees
    the first count.
    """

    name: str
    labels: tuple[str, ...]
    help: str
    labels_of: Callable[[Kind], Labels | None] | None = None
    zeros: tuple[Labels, ...] = ()
    type: str = ""


_counter = partial(Definition, type="counter")
_gauge = partial(Definition, type="gauge")
_histogram = partial(Definition, type="histogram")
_info = partial(Definition, type="info")


TASK: Final = ("queue", "task")
_SAME: Final = "the same on every consumer of a queue: aggregate with max, never sum"
_FAILED_TASKS: Final = (n.OUTCOME_FAILURE, n.OUTCOME_TIMEOUT, n.OUTCOME_LOST)
"""Outcomes of a task, for its last failure; those of an attempt are in the mapping."""

# Refused, canceled, interrupted and lost attempts do not show how long a task takes.
_DURATION_OUTCOME: Final = {
    n.OUTCOME_SUCCESS: n.OUTCOME_SUCCESS,
    n.OUTCOME_ERROR: n.OUTCOME_ERROR,
    n.OUTCOME_TIMEOUT: n.OUTCOME_ERROR,
}


def _of_task(kind: Kind) -> Labels:
    return kind.task


def _of_queue(kind: Kind) -> Labels:
    return kind.task[:1]


def _with(kind: Kind, value: str | None) -> Labels | None:
    return None if value is None else (*kind.task, value)


_DEFINITIONS: Final = (
    _counter(
        n.TASKS_ENQUEUED_TOTAL,
        (*TASK, "origin"),
        "Messages put on the queue, counted when the storage has taken them.",
        lambda kind: _with(kind, kind.origin or n.ORIGIN_CALL),
        zeros=((n.ORIGIN_CALL,),),
    ),
    _counter(n.TASK_ATTEMPTS_TOTAL, TASK, "Attempts started.", _of_task, zeros=((),)),
    _counter(
        n.TASK_ATTEMPTS_FINISHED_TOTAL,
        (*TASK, "outcome"),
        "Attempts ended, each once.",
        lambda kind: _with(kind, kind.outcome),
    ),
    _counter(
        n.TASKS_FINISHED_TOTAL,
        (*TASK, "outcome"),
        "Tasks at their final end: one per task, however often it was retried.",
        lambda kind: _with(kind, kind.final),
        zeros=((n.OUTCOME_SUCCESS,), (n.OUTCOME_FAILURE,)),
    ),
    _counter(n.TASK_RETRIES_TOTAL, TASK, "Retries.", _of_task, zeros=((),)),
    _counter(
        n.TASK_EXCEPTIONS_TOTAL,
        (*TASK, "exception"),
        "Attempts that raised or timed out, by class of the exception;"
        " past 50 classes, other.",
        lambda kind: _with(kind, kind.exception or n.OTHER_EXCEPTION),
    ),
    _histogram(
        n.TASK_DURATION_SECONDS,
        (*TASK, "outcome"),
        "Duration of attempts that ended with success, or with an error or timeout.",
        lambda kind: _with(kind, _DURATION_OUTCOME.get(kind.outcome or "")),
    ),
    _histogram(
        n.TASK_WAIT_SECONDS,
        TASK,
        "From when a task was enqueued and due until its attempt started.",
        _of_task,
    ),
    _histogram(
        n.TASK_SCHEDULE_DELAY_SECONDS,
        ("queue",),
        "How late the scheduler moved ripe tasks to the queue.",
        _of_queue,
    ),
    _gauge(n.TASKS_IN_PROGRESS, TASK, "Attempts running now.", _of_task),
    _gauge(
        n.TASK_RUNNING_AGE,
        TASK,
        "Age of the oldest attempt that is running; absent while none is.",
    ),
    _gauge(n.TASK_LAST_STARTED, TASK, "When an attempt last started here.", _of_task),
    _gauge(
        n.TASK_LAST_SUCCESS,
        TASK,
        "When a task last succeeded here.",
        lambda kind: kind.task if kind.final == n.OUTCOME_SUCCESS else None,
    ),
    _gauge(
        n.TASK_LAST_FAILURE,
        TASK,
        "When a task last finally failed, timed out or was lost here.",
        lambda kind: kind.task if kind.final in _FAILED_TASKS else None,
    ),
    _gauge(
        n.PERIODIC_INTERVAL,
        TASK,
        f"Time from the last minute that a periodic task was due to the next; {_SAME}.",
        _of_task,
    ),
    _gauge(n.PERIODIC_NEXT_RUN, TASK, f"When a periodic task is due next; {_SAME}."),
    _gauge(n.QUEUE_LENGTH, ("queue",), f"Messages that wait on the queue; {_SAME}."),
    _gauge(
        n.QUEUE_OLDEST_AGE,
        ("queue",),
        "For how long the oldest message waits on the queue, absent while none does;"
        f" {_SAME}.",
    ),
    _gauge(
        n.SCHEDULE_LENGTH, ("queue",), f"Messages on the schedule, due or not; {_SAME}."
    ),
    _gauge(
        n.SCHEDULE_OVERDUE_AGE,
        ("queue",),
        "For how long the first message of the schedule is due, absent while none is;"
        f" {_SAME}.",
    ),
    _gauge(
        n.RESULTS,
        ("queue",),
        "Results that were not fetched yet, and what huey keeps beside results:"
        f" revocations and locks; {_SAME}.",
    ),
    _gauge(n.WORKERS, ("queue", "worker_type"), "Workers that the consumer keeps."),
    _gauge(n.WORKERS_BUSY, ("queue", "worker_type"), "Workers that run a task now."),
    _counter(
        n.WORKER_RESTARTS_TOTAL,
        ("queue", "reason"),
        "Workers that huey replaced, by why they had ended.",
        # `RestartCounter` adds the reason, which it knows from several records.
        _of_queue,
        zeros=((n.REASON_DIED,), (n.REASON_MAX_TASKS,)),
    ),
    _info(
        n.CONSUMER_INFO,
        (
            *("queue", "version", "huey_version"),
            *("python_version", "worker_type", "periodic"),
        ),
        "The consumer and its versions; the value is always 1.",
    ),
    _gauge(n.CONSUMER_START_TIME, ("queue",), "When the consumer started."),
    _gauge(
        n.SCHEDULER_LAST_CHECK,
        ("queue",),
        "When the scheduler last looked for due periodic tasks.",
        _of_queue,
    ),
    _counter(
        n.CONSUMER_ERRORS_TOTAL,
        ("queue", "kind"),
        "Errors of the consumer itself, not of a task's code.",
        lambda kind: (kind.task[0], mapping.kind_of_error(kind.status)),
        zeros=tuple(
            (mapping.kind_of_error(status),)
            for status, row in TABLE.items()
            if n.CONSUMER_ERRORS_TOTAL in row.metrics
        ),
    ),
    _counter(
        n.EVENTS_TOTAL,
        ("queue", "status"),
        "Consumer events made, also those that were dropped later.",
        lambda kind: (kind.task[0], kind.status),
        zeros=tuple(
            (status,)
            for status, row in TABLE.items()
            if row.published is Published.ALWAYS
        ),
    ),
    _counter(
        n.EVENTS_DROPPED_TOTAL,
        ("reason",),
        "Telemetry that this process could not deliver, for all its queues.",
    ),
)

CATALOG: Final = {definition.name: definition for definition in _DEFINITIONS}
