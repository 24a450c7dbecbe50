"""The mapping as data: what each step of a task does to spans, metrics and events."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from huey_otel import _names as n
from huey_otel import events as e


class Span(Enum):
    """What a step does to the span of its attempt."""

    NONE = "nothing"
    START = "starts it"
    END = "ends it"
    SHORT = "a short span of its own"


class Published(Enum):
    """Whether Redis readers get the step as an event."""

    ALWAYS = "always"
    OPT_IN = "with publish_enqueued=True"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
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


ACCEPTED: Final = "accepted"
SENT: Final = "sent"
DEQUEUED: Final = "dequeued"
ENDED: Final = "ended"
GONE: Final = "gone"
WORKER_ENDED: Final = "worker-ended"
WORKER_REPLACED: Final = "worker-replaced"

_RUNNING: Final = (n.TASKS_IN_PROGRESS, n.TASK_RUNNING_AGE, n.WORKERS_BUSY)
_ENDING: Final = ("duration",)
_FAILING: Final = ("duration", "traceback", "exception")
_FAILED: Final = ("traceback", "exception")


def _consumer_error(status: str, when: str, extra: tuple[str, ...] = _FAILED) -> Row:
    metrics = (n.CONSUMER_ERRORS_TOTAL,)
    return Row(status=status, when=when, metrics=metrics, error=True, extra=extra)


_ROWS: Final = (
    Row(
        status=e.EVENT_CHECKING_PERIODIC,
        when="the scheduler looks for due periodic tasks, each minute",
        metrics=(n.SCHEDULER_LAST_CHECK,),
    ),
    Row(
        status=e.EVENT_SCHEDULING_PERIODIC,
        when="a due periodic task is enqueued",
        metrics=(n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN),
    ),
    Row(
        status=e.EVENT_SCHEDULED,
        when="a task is put on the schedule (ETA, or retry delay)",
        signal="scheduled",
    ),
    Row(
        status=e.EVENT_STARTED,
        when="a worker begins executing",
        signal="executing",
        span=Span.START,
        metrics=(
            n.TASK_ATTEMPTS_TOTAL,
            n.TASK_WAIT_SECONDS,
            n.TASK_LAST_STARTED,
            *_RUNNING,
        ),
        extra=("wait",),
        seconds="wait",
    ),
    Row(
        status=e.EVENT_FINISHED,
        when="the task returned",
        signal="complete",
        span=Span.END,
        outcome=n.OUTCOME_SUCCESS,
        final=n.OUTCOME_SUCCESS,
        extra=_ENDING,
        seconds="duration",
    ),
    Row(
        status=e.EVENT_RETRYING,
        when="after a failure, the task will be retried",
        signal="retrying",
        metrics=(n.TASK_RETRIES_TOTAL,),
    ),
    Row(
        status=e.EVENT_REVOKED,
        when="pulled from the queue, not run, because it was revoked",
        signal="revoked",
        span=Span.SHORT,
        final=n.OUTCOME_REVOKED,
    ),
    Row(
        status=e.EVENT_LOCKED,
        when="not run, because a lock was not acquired",
        signal="locked",
        span=Span.END,
        outcome=n.OUTCOME_LOCKED,
        final=n.OUTCOME_LOCKED,
        extra=_ENDING,
    ),
    Row(
        status=e.EVENT_ERROR_TASK,
        when="the task raised (also `sys.exit` in a task)",
        signal="error",
        span=Span.END,
        outcome=n.OUTCOME_ERROR,
        final=n.OUTCOME_FAILURE,
        metrics=(n.TASK_EXCEPTIONS_TOTAL,),
        error=True,
        extra=_FAILING,
    ),
    _consumer_error(
        e.EVENT_ERROR_DEQUEUEING,
        "reading or decoding a message failed; in a streak the first, "
        "then one per 10 s and worker",
        extra=(*_FAILED, "count"),
    ),
    _consumer_error(e.EVENT_ERROR_ENQUEUEING, "scheduler or worker could not enqueue"),
    _consumer_error(
        e.EVENT_ERROR_SCHEDULING, "a task could not be added to the schedule"
    ),
    _consumer_error(
        e.EVENT_ERROR_STORING_RESULT,
        "the task ran, its result could not be stored (in place of finished)",
        extra=_FAILING,
    ),
    _consumer_error(
        e.EVENT_ERROR_INTERNAL,
        "anything else, such as storage offline while reading the schedule",
    ),
    Row(
        status=e.EVENT_TIMEOUT,
        when="the task exceeded its timeout",
        signal="timeout",
        span=Span.END,
        outcome=n.OUTCOME_TIMEOUT,
        final=n.OUTCOME_TIMEOUT,
        metrics=(n.TASK_EXCEPTIONS_TOTAL,),
        error=True,
        extra=_FAILING,
    ),
    Row(
        status=e.EVENT_CANCELED,
        when="the task, or a pre-execute hook, canceled the execution",
        signal="canceled",
        span=Span.END,
        outcome=n.OUTCOME_CANCELED,
        final=n.OUTCOME_CANCELED,
        extra=_ENDING,
    ),
    Row(
        status=e.EVENT_EXPIRED,
        when="pulled from the queue after it expired, not run",
        signal="expired",
        span=Span.SHORT,
        final=n.OUTCOME_EXPIRED,
    ),
    Row(
        status=e.EVENT_INTERRUPTED,
        when="the consumer stopped before the task was done",
        signal="interrupted",
        span=Span.END,
        outcome=n.OUTCOME_INTERRUPTED,
        final=n.OUTCOME_INTERRUPTED,
        extra=_ENDING,
    ),
    Row(
        status=e.EVENT_RATE_LIMITED,
        when="not run, because a rate limit was exceeded",
        signal="rate-limited",
        span=Span.END,
        outcome=n.OUTCOME_RATE_LIMITED,
        final=n.OUTCOME_RATE_LIMITED,
        extra=_ENDING,
    ),
    Row(
        status=e.EVENT_LOST,
        when="a worker died (SIGKILL, out of memory) holding this task, "
        "started or just popped",
        span=Span.END,
        outcome=n.OUTCOME_LOST,
        final=n.OUTCOME_LOST,
        metrics=(
            n.TASK_ATTEMPTS_FINISHED_TOTAL,
            n.TASKS_FINISHED_TOTAL,
            n.TASK_LAST_FAILURE,
            *_RUNNING,
        ),
        error=True,
        extra=_ENDING,
        seconds="duration",
    ),
    Row(
        status=e.EVENT_ENQUEUED,
        when="a task was put on the queue",
        signal="enqueued",
        published=Published.OPT_IN,
        extra=("origin", "late"),
    ),
    Row(
        status=ACCEPTED,
        when="the storage has taken a message for the queue",
        metrics=(n.TASKS_ENQUEUED_TOTAL, n.TASK_SCHEDULE_DELAY_SECONDS),
        published=Published.NEVER,
        extra=("origin", "late"),
        seconds="late",
    ),
    Row(
        status=SENT,
        when="an enqueue is over, well or not; only with semconv_metrics=True",
        published=Published.NEVER,
        seconds="duration",
    ),
    Row(
        status=DEQUEUED,
        when="a worker has popped a message",
        published=Published.NEVER,
    ),
    Row(
        status=ENDED,
        when="all is known of an attempt: its outcome, and the task's or None "
        "when a further attempt follows",
        metrics=(
            n.TASK_ATTEMPTS_FINISHED_TOTAL,
            n.TASKS_FINISHED_TOTAL,
            n.TASK_DURATION_SECONDS,
            n.TASK_LAST_SUCCESS,
            n.TASK_LAST_FAILURE,
            *_RUNNING,
        ),
        published=Published.NEVER,
        seconds="duration",
    ),
    Row(
        status=GONE,
        when="a worker is dead, and all that it wrote has been read",
        metrics=(n.WORKER_RESTARTS_TOTAL,),
        published=Published.NEVER,
    ),
    Row(
        status=WORKER_ENDED,
        when="a worker ends of itself: recycled or failed",
        metrics=(n.WORKER_RESTARTS_TOTAL,),
        published=Published.NEVER,
    ),
    Row(
        status=WORKER_REPLACED,
        when="huey has started another worker in place of this one",
        metrics=(n.WORKER_RESTARTS_TOTAL,),
        published=Published.NEVER,
    ),
)

TABLE: Final = {row.status: row for row in _ROWS}
BY_SIGNAL: Final = {row.signal: row for row in _ROWS if row.signal is not None}


def closes(extra: Mapping[str, Any] | None) -> bool:
    """Whether a `finished` record with *extra* is the attempt's `ended` record too.

    So it is where nothing observable follows that would have to be waited for.
    """
    return extra is not None and extra.get("outcome") is not None


def metrics_of(status: str, outcome: str | None) -> tuple[str, ...]:
    """The metrics that a record of *status* moves, which says *outcome* or None."""
    row = TABLE[status]
    published = () if row.published is Published.NEVER else (n.EVENTS_TOTAL,)
    both = status == e.EVENT_FINISHED and outcome is not None
    return row.metrics + published + (TABLE[ENDED].metrics if both else ())


def kind_of_error(status: str) -> str:
    """The `kind` of huey_consumer_errors_total for an error of the consumer."""
    return status.removeprefix("error-").replace("-", "_")
