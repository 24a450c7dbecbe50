"""The mapping as data: what each step of a task does to spans, metrics and events."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from huey_otel import _names as n
from huey_otel import events as e


class Span(Enum):
    """What a step does to the span of its attempt."""

    NONE = "nothing"
    START = "starts it"
    END = "ends it"
    SHORT = "a short span of its own"


class Published(Enum):
    """Whether readers get the step as an event."""

    ALWAYS = "always"
    OPT_IN = "with publish_enqueued=True"
    NEVER = "never"


class Row(NamedTuple):
    """One status: when it is emitted, and what it does.

    `signal` is the huey signal it is taken from, None where it is taken from a call.
    `outcome` is how the attempt ended if this step ends it, `final` the task's outcome
    then, unless a further attempt follows. `metrics` are those that the step itself
    changes; every published step is counted in huey_events_total. `extra` are the
    event's further keys; a histogram takes the value of the one that `seconds` names.
    """

    status: str
    when: str
    signal: str | None = None
    span: Span = Span.NONE
    outcome: str | None = None
    final: str | None = None
    metrics: tuple[str, ...] = ()
    published: Published = Published.ALWAYS
    error: bool = False
    extra: tuple[str, ...] = ()
    seconds: str | None = None

    @property
    def ends(self) -> bool:
        """Whether it says how an attempt ended, or that a task was not run."""
        return self.outcome is not None or self.final is not None

    @property
    def severity(self) -> str:
        """How grave the event is, by OpenTelemetry's names for log records."""
        if self.error:
            return "ERROR"
        return "WARN" if self.status == e.EVENT_RETRYING else "INFO"

    @property
    def is_event(self) -> bool:
        """Whether readers can get it, by default or on demand."""
        return self.published is not Published.NEVER


ACCEPTED: Final = "accepted"
SENT: Final = "sent"
DEQUEUED: Final = "dequeued"
ENDED: Final = "ended"
GONE: Final = "gone"
WORKER_ENDED: Final = "worker-ended"
WORKER_REPLACED: Final = "worker-replaced"
SCHEDULER_REPLACED: Final = "scheduler-replaced"

_RUNNING: Final = (
    *(n.TASKS_IN_PROGRESS, n.TASK_RUNNING_AGE),
    *(n.WORKERS_BUSY, n.WORKER_BUSY_SECONDS_TOTAL),
)
_RAISED: Final = ("traceback", "exception")


def _ends(status: str, when: str, outcome: str, **more: Any) -> Row:
    """A signal of the same name, unless `signal` is given, which ends the attempt."""
    alike = {"signal": status, "final": outcome, "extra": ("duration",)}
    return Row(status, when, span=Span.END, outcome=outcome, **(alike | more))


def _raises(status: str, when: str, outcome: str, **more: Any) -> Row:
    alike = {"metrics": (n.TASK_EXCEPTIONS_TOTAL,), "extra": ("duration", *_RAISED)}
    return _ends(status, when, outcome, error=True, **(alike | more))


def _not_run(status: str, when: str, final: str) -> Row:
    return Row(status, when, signal=status, span=Span.SHORT, final=final)


def _consumer_error(status: str, when: str, extra: tuple[str, ...] = _RAISED) -> Row:
    metrics = (n.CONSUMER_ERRORS_TOTAL,)
    return Row(status, when, metrics=metrics, error=True, extra=extra)


def _internal(status: str, when: str, *metrics: str, **more: Any) -> Row:
    return Row(status, when, metrics=metrics, published=Published.NEVER, **more)


_ROWS: Final = (
    Row(
        e.EVENT_CHECKING_PERIODIC,
        "the scheduler looks for due periodic tasks, each minute",
        metrics=(n.SCHEDULER_LAST_CHECK,),
    ),
    Row(
        e.EVENT_SCHEDULING_PERIODIC,
        "a due periodic task is enqueued",
        metrics=(n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN),
    ),
    Row(
        e.EVENT_SCHEDULED,
        "a task is put on the schedule (ETA, or retry delay)",
        signal="scheduled",
    ),
    Row(
        e.EVENT_STARTED,
        "a worker begins executing",
        signal="executing",
        span=Span.START,
        metrics=(
            *(n.TASK_ATTEMPTS_TOTAL, n.TASK_WAIT_SECONDS, n.TASK_LAST_STARTED),
            *_RUNNING,
        ),
        extra=("wait",),
        seconds="wait",
    ),
    _ends(
        e.EVENT_FINISHED,
        "the task returned",
        n.OUTCOME_SUCCESS,
        signal="complete",
        seconds="duration",
    ),
    Row(
        e.EVENT_RETRYING,
        "after a failure, the task will be retried",
        signal="retrying",
        metrics=(n.TASK_RETRIES_TOTAL,),
    ),
    _not_run(
        e.EVENT_REVOKED,
        "pulled from the queue, not run, because it was revoked",
        n.OUTCOME_REVOKED,
    ),
    _ends(e.EVENT_LOCKED, "not run, because a lock was not acquired", n.OUTCOME_LOCKED),
    _raises(
        e.EVENT_ERROR_TASK,
        "the task raised (also `sys.exit` in a task)",
        n.OUTCOME_ERROR,
        signal="error",
        final=n.OUTCOME_FAILURE,
    ),
    _consumer_error(
        e.EVENT_ERROR_DEQUEUEING,
        "reading or decoding a message failed; in a streak the first, "
        "then one per 10 s and worker",
        (*_RAISED, "count"),
    ),
    _consumer_error(e.EVENT_ERROR_ENQUEUEING, "scheduler or worker could not enqueue"),
    _consumer_error(
        e.EVENT_ERROR_SCHEDULING, "a task could not be added to the schedule"
    ),
    _consumer_error(
        e.EVENT_ERROR_STORING_RESULT,
        "the task ran, its result could not be stored (in place of finished)",
        ("duration", *_RAISED),
    ),
    _consumer_error(
        e.EVENT_ERROR_INTERNAL,
        "anything else, such as storage offline while reading the schedule",
    ),
    _raises(e.EVENT_TIMEOUT, "the task exceeded its timeout", n.OUTCOME_TIMEOUT),
    _ends(
        e.EVENT_CANCELED,
        "the task, or a pre-execute hook, canceled the execution",
        n.OUTCOME_CANCELED,
    ),
    _not_run(
        e.EVENT_EXPIRED,
        "pulled from the queue after it expired, not run",
        n.OUTCOME_EXPIRED,
    ),
    _ends(
        e.EVENT_INTERRUPTED,
        "the consumer stopped before the task was done",
        n.OUTCOME_INTERRUPTED,
    ),
    _ends(
        e.EVENT_RATE_LIMITED,
        "not run, because a rate limit was exceeded",
        n.OUTCOME_RATE_LIMITED,
    ),
    _ends(
        e.EVENT_LOST,
        "a worker died (SIGKILL, out of memory) holding this task, "
        "started or just popped",
        n.OUTCOME_LOST,
        signal=None,
        metrics=(
            *(n.TASK_ATTEMPTS_FINISHED_TOTAL, n.TASKS_FINISHED_TOTAL),
            *(n.TASK_LAST_FAILURE, *_RUNNING),
        ),
        error=True,
        seconds="duration",
    ),
    Row(
        e.EVENT_ENQUEUED,
        "a task was put on the queue",
        signal="enqueued",
        published=Published.OPT_IN,
        extra=("origin", "late"),
    ),
    _internal(
        ACCEPTED,
        "the storage has taken a message for the queue or the schedule",
        *(n.TASKS_ENQUEUED_TOTAL, n.TASK_REQUEUES_TOTAL),
        n.TASK_SCHEDULE_DELAY_SECONDS,
        extra=("origin", "late"),
        seconds="late",
    ),
    _internal(
        SENT,
        "an enqueue is over, well or not; only with semconv_metrics=True",
        seconds="duration",
    ),
    _internal(DEQUEUED, "a worker has popped a message"),
    _internal(
        ENDED,
        "all is known of an attempt: its outcome, and the task's or None "
        "when a further attempt follows",
        *(n.TASK_ATTEMPTS_FINISHED_TOTAL, n.TASKS_FINISHED_TOTAL),
        *(n.TASK_DURATION_SECONDS, n.TASK_LAST_SUCCESS, n.TASK_LAST_FAILURE),
        *_RUNNING,
        seconds="duration",
    ),
    _internal(
        GONE,
        "a worker is dead, and all that it wrote has been read",
        n.WORKER_RESTARTS_TOTAL,
    ),
    _internal(
        WORKER_ENDED,
        "a worker ends of itself: recycled or failed",
        n.WORKER_RESTARTS_TOTAL,
    ),
    _internal(
        WORKER_REPLACED,
        "huey has started another worker in place of this one",
        n.WORKER_RESTARTS_TOTAL,
    ),
    _internal(
        SCHEDULER_REPLACED,
        "huey has started another scheduler in place of one that died",
        n.SCHEDULER_RESTARTS_TOTAL,
    ),
)

TABLE: Final = {row.status: row for row in _ROWS}
BY_SIGNAL: Final = {row.signal: row for row in _ROWS if row.signal is not None}

FAILURES: Final = frozenset(row.outcome for row in _ROWS if row.error and row.outcome)
"""The outcomes of an attempt that make its span an error."""


def closes(extra: Mapping[str, Any] | None) -> bool:
    """Whether a `finished` record with *extra* is the attempt's `ended` record too.

    One record serves as both where nothing that others can see follows the success.
    """
    return extra is not None and extra.get("outcome") is not None


def metrics_of(status: str, outcome: str | None) -> tuple[str, ...]:
    """The metrics that a record of *status* moves, which says *outcome* or None."""
    row = TABLE[status]
    published = (n.EVENTS_TOTAL,) if row.is_event else ()
    both = status == e.EVENT_FINISHED and outcome is not None
    return row.metrics + published + (TABLE[ENDED].metrics if both else ())


def kind_of_error(status: str) -> str:
    """The `kind` of huey_consumer_errors_total for an error of the consumer."""
    return status.removeprefix("error-").replace("-", "_")
