"""The catalog: every metric, its labels, and which records it counts under them."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel.mapping import TABLE, Published

Labels = tuple[str, ...]
"""Values of labels, in the order of the definition."""

Values = dict[str, dict[Labels, float]]
"""Numbers, by metric and labels."""


class Kind(NamedTuple):
    """All that labels are made of: records of one kind move the same series.

    `task` is the queue and the task, `outcome` how the attempt ended, `final` what
    became of the task; both are None in a record that does not end one. From
    `outcome` on the fields are extra keys of the record, KEYED of the wire.
    """

    status: str
    task: Labels
    outcome: str | None
    final: str | None
    exception: str | None
    origin: str | None


kind_of: Final[Callable[[tuple[Any, ...]], Kind]] = partial(tuple.__new__, Kind)
"""A Kind of its fields, without a call in Python: each record is asked for its own."""


class Definition(NamedTuple):
    """What a metric is. `type` is prometheus_client's word for it.

    `labels_of` says under which labels it counts records of a kind that the mapping
    has it counted for; None is under none. Metrics without it are read off when they
    are collected. `zeros` are labels that are 0 until counted, for each queue or
    each registered task, so that a first increase is seen.
    """

    name: str
    type: str
    labels: tuple[str, ...]
    help: str
    labels_of: Callable[[Kind], Labels | None] | None = None
    zeros: tuple[Labels, ...] = ()


TASK: Final = ("queue", "task")
_SAME: Final = "the same on every consumer of a queue: aggregate with max, never sum"
_FAILURES: Final = (n.OUTCOME_FAILURE, n.OUTCOME_TIMEOUT, n.OUTCOME_LOST)

# How long it took to be refused, canceled, interrupted or lost says nothing of a task.
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
    Definition(
        n.TASKS_ENQUEUED_TOTAL,
        "counter",
        (*TASK, "origin"),
        "Messages put on the queue, counted when the storage has taken them.",
        lambda kind: _with(kind, kind.origin or n.ORIGIN_CALL),
        zeros=((n.ORIGIN_CALL,),),
    ),
    Definition(
        n.TASK_ATTEMPTS_TOTAL,
        "counter",
        TASK,
        "Attempts started.",
        _of_task,
        zeros=((),),
    ),
    Definition(
        n.TASK_ATTEMPTS_FINISHED_TOTAL,
        "counter",
        (*TASK, "outcome"),
        "Attempts ended, each once.",
        lambda kind: _with(kind, kind.outcome),
    ),
    Definition(
        n.TASKS_FINISHED_TOTAL,
        "counter",
        (*TASK, "outcome"),
        "Tasks at their final end: one per task, however often it was retried.",
        lambda kind: _with(kind, kind.final),
        zeros=((n.OUTCOME_SUCCESS,), (n.OUTCOME_FAILURE,)),
    ),
    Definition(
        n.TASK_RETRIES_TOTAL, "counter", TASK, "Retries.", _of_task, zeros=((),)
    ),
    Definition(
        n.TASK_EXCEPTIONS_TOTAL,
        "counter",
        (*TASK, "exception"),
        "Attempts that raised or timed out, by class of the exception;"
        " past 50 classes, other.",
        lambda kind: _with(kind, kind.exception or n.OTHER_EXCEPTION),
    ),
    Definition(
        n.TASK_DURATION_SECONDS,
        "histogram",
        (*TASK, "outcome"),
        "Duration of attempts that ended with success, or with an error or timeout.",
        lambda kind: _with(kind, _DURATION_OUTCOME.get(kind.outcome or "")),
    ),
    Definition(
        n.TASK_WAIT_SECONDS,
        "histogram",
        TASK,
        "From when a task was enqueued and due until its attempt started.",
        _of_task,
    ),
    Definition(
        n.TASK_SCHEDULE_DELAY_SECONDS,
        "histogram",
        ("queue",),
        "How late the scheduler moved ripe tasks to the queue.",
        _of_queue,
    ),
    Definition(n.TASKS_IN_PROGRESS, "gauge", TASK, "Attempts running now.", _of_task),
    Definition(
        n.TASK_RUNNING_AGE,
        "gauge",
        TASK,
        "Age of the oldest attempt that is running; absent while none is.",
    ),
    Definition(
        n.TASK_LAST_STARTED,
        "gauge",
        TASK,
        "When an attempt last started here.",
        _of_task,
    ),
    Definition(
        n.TASK_LAST_SUCCESS,
        "gauge",
        TASK,
        "When a task last succeeded here.",
        lambda kind: kind.task if kind.final == n.OUTCOME_SUCCESS else None,
    ),
    Definition(
        n.TASK_LAST_FAILURE,
        "gauge",
        TASK,
        "When a task last finally failed, timed out or was lost here.",
        lambda kind: kind.task if kind.final in _FAILURES else None,
    ),
    Definition(
        n.PERIODIC_INTERVAL,
        "gauge",
        TASK,
        f"Time from the last minute that a periodic task was due to the next; {_SAME}.",
        _of_task,
    ),
    Definition(
        n.PERIODIC_NEXT_RUN,
        "gauge",
        TASK,
        f"When a periodic task is due next; {_SAME}.",
    ),
    Definition(
        n.QUEUE_LENGTH,
        "gauge",
        ("queue",),
        f"Messages that wait on the queue; {_SAME}.",
    ),
    Definition(
        n.QUEUE_OLDEST_AGE,
        "gauge",
        ("queue",),
        "For how long the oldest message waits on the queue, absent while none does;"
        f" {_SAME}.",
    ),
    Definition(
        n.SCHEDULE_LENGTH,
        "gauge",
        ("queue",),
        f"Messages on the schedule, due or not; {_SAME}.",
    ),
    Definition(
        n.SCHEDULE_OVERDUE_AGE,
        "gauge",
        ("queue",),
        "For how long the first message of the schedule is due, absent while none is;"
        f" {_SAME}.",
    ),
    Definition(
        n.RESULTS,
        "gauge",
        ("queue",),
        "Results that nobody has fetched, and what else huey keeps beside them:"
        f" revocations and locks; {_SAME}.",
    ),
    Definition(
        n.WORKERS, "gauge", ("queue", "worker_type"), "Workers that the consumer keeps."
    ),
    Definition(
        n.WORKERS_BUSY,
        "gauge",
        ("queue", "worker_type"),
        "Workers that run a task now.",
    ),
    Definition(
        n.WORKER_RESTARTS_TOTAL,
        "counter",
        ("queue", "reason"),
        "Workers that huey replaced, by why they had ended.",
        # The reason is known from several records together, see `restarts`.
        _of_queue,
        zeros=((n.REASON_DIED,), (n.REASON_MAX_TASKS,)),
    ),
    Definition(
        n.CONSUMER_INFO,
        "info",
        (
            *("queue", "version", "huey_version"),
            *("python_version", "worker_type", "periodic"),
        ),
        "The consumer and its versions; the value is always 1.",
    ),
    Definition(
        n.CONSUMER_START_TIME, "gauge", ("queue",), "When the consumer started."
    ),
    Definition(
        n.SCHEDULER_LAST_CHECK,
        "gauge",
        ("queue",),
        "When the scheduler last looked for due periodic tasks.",
        _of_queue,
    ),
    Definition(
        n.CONSUMER_ERRORS_TOTAL,
        "counter",
        ("queue", "kind"),
        "Errors of the consumer itself, not of a task's code.",
        lambda kind: (kind.task[0], mapping.kind_of_error(kind.status)),
        zeros=tuple(
            (mapping.kind_of_error(status),)
            for status, row in TABLE.items()
            if n.CONSUMER_ERRORS_TOTAL in row.metrics
        ),
    ),
    Definition(
        n.EVENTS_TOTAL,
        "counter",
        ("queue", "status"),
        "Consumer events made, also those that were dropped later.",
        lambda kind: (kind.task[0], kind.status),
        zeros=tuple(
            (status,)
            for status, row in TABLE.items()
            if row.published is Published.ALWAYS
        ),
    ),
    Definition(
        n.EVENTS_DROPPED_TOTAL,
        "counter",
        ("reason",),
        "Telemetry that this process could not deliver, for all its queues.",
    ),
)

CATALOG: Final = {definition.name: definition for definition in _DEFINITIONS}
