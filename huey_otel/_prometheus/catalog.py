"""The catalog: type, labels and help of every metric, as `/metrics` shows them."""

from typing import Final, NamedTuple

from huey_otel import _names as n


class Definition(NamedTuple):
    """What a metric is. `kind` is prometheus_client's word for its type."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


_TASK: Final = ("queue", "task")
_SAME: Final = "the same on every consumer of a queue: aggregate with max, never sum"

_DEFINITIONS: Final = (
    Definition(
        n.TASKS_ENQUEUED_TOTAL,
        "counter",
        (*_TASK, "origin"),
        "Messages put on the queue, counted when the storage has taken them.",
    ),
    Definition(n.TASK_ATTEMPTS_TOTAL, "counter", _TASK, "Attempts started."),
    Definition(
        n.TASK_ATTEMPTS_FINISHED_TOTAL,
        "counter",
        (*_TASK, "outcome"),
        "Attempts ended, each once.",
    ),
    Definition(
        n.TASKS_FINISHED_TOTAL,
        "counter",
        (*_TASK, "outcome"),
        "Tasks at their final end: one per task, however often it was retried.",
    ),
    Definition(n.TASK_RETRIES_TOTAL, "counter", _TASK, "Retries."),
    Definition(
        n.TASK_EXCEPTIONS_TOTAL,
        "counter",
        (*_TASK, "exception"),
        "Attempts that raised or timed out, by class of the exception;"
        " past 50 classes, other.",
    ),
    Definition(
        n.TASK_DURATION_SECONDS,
        "histogram",
        (*_TASK, "outcome"),
        "Duration of attempts that ended with success, or with an error or timeout.",
    ),
    Definition(
        n.TASK_WAIT_SECONDS,
        "histogram",
        _TASK,
        "From when a task was enqueued and due until its attempt started.",
    ),
    Definition(
        n.TASK_SCHEDULE_DELAY_SECONDS,
        "histogram",
        ("queue",),
        "How late the scheduler moved ripe tasks to the queue.",
    ),
    Definition(n.TASKS_IN_PROGRESS, "gauge", _TASK, "Attempts running now."),
    Definition(
        n.TASK_RUNNING_AGE,
        "gauge",
        _TASK,
        "Age of the oldest attempt that is running; absent while none is.",
    ),
    Definition(
        n.TASK_LAST_STARTED, "gauge", _TASK, "When an attempt last started here."
    ),
    Definition(n.TASK_LAST_SUCCESS, "gauge", _TASK, "When a task last succeeded here."),
    Definition(
        n.TASK_LAST_FAILURE,
        "gauge",
        _TASK,
        "When a task last finally failed, timed out or was lost here.",
    ),
    Definition(
        n.PERIODIC_INTERVAL,
        "gauge",
        _TASK,
        f"Time from the last minute that a periodic task was due to the next; {_SAME}.",
    ),
    Definition(
        n.PERIODIC_NEXT_RUN,
        "gauge",
        _TASK,
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
    ),
    Definition(
        n.CONSUMER_ERRORS_TOTAL,
        "counter",
        ("queue", "kind"),
        "Errors of the consumer itself, not of a task's code.",
    ),
    Definition(
        n.EVENTS_TOTAL,
        "counter",
        ("queue", "status"),
        "Consumer events made, also those that were dropped later.",
    ),
    Definition(
        n.EVENTS_DROPPED_TOTAL,
        "counter",
        ("reason",),
        "Telemetry that this process could not deliver, for all its queues.",
    ),
)

CATALOG: Final = {definition.name: definition for definition in _DEFINITIONS}
