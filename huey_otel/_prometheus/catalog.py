"""The catalog: every metric, its labels, and which records it counts under them."""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from huey_otel import _names as n
from huey_otel import mapping
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
FAILED_TASKS: Final = (n.OUTCOME_FAILURE, n.OUTCOME_TIMEOUT, n.OUTCOME_LOST)
"""Outcomes of a task, for its last failure; those of an attempt are in the mapping."""

# Refused, canceled, interrupted and lost attempts do not show how long a task takes.
_TIMED: Final = (n.OUTCOME_SUCCESS, n.OUTCOME_ERROR, n.OUTCOME_TIMEOUT)


def _of_task(kind: Kind) -> Labels:
    return kind.task


def _of_queue(kind: Kind) -> Labels:
    return kind.task[:1]


def _with(
    kind: Kind, value: str | None, among: tuple[str, ...] | None = None
) -> Labels | None:
    """The labels of the task and *value*; None without one, or for one not *among*."""
    if value is None or (among is not None and value not in among):
        return None
    return (*kind.task, value)


_DEFINITIONS: Final = (
    _counter(
        n.TASKS_ENQUEUED_TOTAL,
        (*TASK, "origin"),
        "New work, put on the queue or the schedule by this process: a web process"
        " counts its own. What is put back is in huey_task_requeues_total.",
        lambda kind: _with(kind, kind.origin, n.ORIGINS_OF_NEW_WORK),
        zeros=tuple((origin,) for origin in n.ORIGINS_OF_NEW_WORK),
    ),
    _counter(
        n.TASK_REQUEUES_TOTAL,
        (*TASK, "reason"),
        "The same work put back: a retry on the queue or the schedule, or a ripe task"
        " that the scheduler moved from there to the queue.",
        lambda kind: _with(kind, kind.origin, n.REASONS_TO_REQUEUE),
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
        zeros=tuple((final,) for final in (n.OUTCOME_SUCCESS, *FAILED_TASKS)),
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
        TASK,
        "Duration of attempts that ended with success, an error or a timeout.",
        lambda kind: kind.task if kind.outcome in _TIMED else None,
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
        lambda kind: kind.task if kind.final in FAILED_TASKS else None,
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
    _gauge(
        n.STORAGE_UP,
        ("queue",),
        "1 when the storage has answered this scrape, 0 when it has not and the queue's"
        " gauges are absent.",
    ),
    _gauge(n.WORKERS, ("queue", "worker_type"), "Workers that the consumer keeps."),
    _gauge(n.WORKERS_BUSY, ("queue", "worker_type"), "Workers that run a task now."),
    _counter(
        n.WORKER_BUSY_SECONDS_TOTAL,
        ("queue", "worker_type"),
        "Seconds that workers have run tasks, until now for those that run one.",
    ),
    _gauge(
        n.WORKERS_MEMORY,
        ("queue",),
        "Resident memory of the worker processes together; absent with threads.",
    ),
    _counter(
        n.WORKER_RESTARTS_TOTAL,
        ("queue", "reason"),
        "Workers that huey replaced, by why they had ended.",
        # `Restarts` adds the reason, which it knows from several records.
        _of_queue,
        zeros=((n.REASON_DIED,), (n.REASON_MAX_TASKS,)),
    ),
    _counter(
        n.SCHEDULER_RESTARTS_TOTAL,
        ("queue",),
        "Schedulers that died, and that huey replaced.",
        _of_queue,
        zeros=((),),
    ),
    _info(
        n.CONSUMER_INFO,
        (
            *("queue", "version", "huey_version", "python_version"),
            *("service_version", "host", "worker_type", "periodic"),
        ),
        "The consumer and its versions; service_version is the resource's"
        " service.version. The value is always 1.",
    ),
    _gauge(n.CONSUMER_START_TIME, ("queue",), "When the consumer started."),
    _gauge(
        n.SCHEDULER_LAST_CHECK,
        ("queue",),
        "When the scheduler last looked for due periodic tasks.",
        _of_queue,
    ),
    _gauge(
        n.CONSUMER_STUCK,
        ("queue", "reason"),
        "1 while a worker hangs in dequeue, a worker does not look for messages any"
        " more, or the scheduler is silent, each for longer than stuck_after; else 0.",
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
        n.TELEMETRY_DROPPED_TOTAL,
        ("queue", "signal", "reason"),
        "Telemetry that was lost, and why; queue is empty where it was the process'.",
    ),
)

CATALOG: Final = {definition.name: definition for definition in _DEFINITIONS}

_OF_THE_EXPORTER: Final = (
    _gauge(
        n.EXPORTER_UP,
        (),
        "1 when Redis has told this scrape all that it was asked, 0 when a part is"
        " missing.",
    ),
    _gauge(
        n.EXPORTER_PAGES,
        ("queue", "state"),
        "Metrics pages in Redis: live; stale (not renewed for three of its intervals),"
        " ended, or replaced by a newer one of its host and process id, of which only"
        " counters are shown; or skipped as damaged, newer, too_large or wrong_type.",
    ),
    _gauge(
        n.EXPORTER_PAGE_AGE,
        ("queue", n.CONSUMER_LABEL),
        "Time since a consumer has renewed its page.",
    ),
    _gauge(
        n.EXPORTER_SERIES_SKIPPED,
        ("queue", n.CONSUMER_LABEL),
        "Series of a consumer's page that this exporter does not know, and skips.",
    ),
)

EXPORTER: Final = {definition.name: definition for definition in _OF_THE_EXPORTER}
"""What `huey-otel exporter` says of itself, beside the consumers' metrics."""

OF_STORAGE: Final = (
    n.QUEUE_LENGTH,
    n.QUEUE_OLDEST_AGE,
    n.SCHEDULE_LENGTH,
    n.SCHEDULE_OVERDUE_AGE,
    n.RESULTS,
    n.STORAGE_UP,
)
"""Metrics of a queue's storage, the same on whatever page they are."""
