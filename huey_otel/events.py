"""The consumer events: their names, and the dict that Redis readers get."""

from typing import Final, NotRequired, TypedDict

EVENT_CHECKING_PERIODIC: Final = "checking-periodic"
EVENT_SCHEDULING_PERIODIC: Final = "scheduling-periodic"
EVENT_SCHEDULED: Final = "scheduled"
EVENT_STARTED: Final = "started"
EVENT_FINISHED: Final = "finished"
EVENT_RETRYING: Final = "retrying"
EVENT_REVOKED: Final = "revoked"
EVENT_LOCKED: Final = "locked"
EVENT_ERROR_TASK: Final = "error-task"
EVENT_ERROR_DEQUEUEING: Final = "error-dequeueing"
EVENT_ERROR_ENQUEUEING: Final = "error-enqueueing"
EVENT_ERROR_SCHEDULING: Final = "error-scheduling"
EVENT_ERROR_STORING_RESULT: Final = "error-storing-result"
EVENT_ERROR_INTERNAL: Final = "error-internal"
EVENT_TIMEOUT: Final = "timeout"
EVENT_CANCELED: Final = "canceled"
EVENT_EXPIRED: Final = "expired"
EVENT_INTERRUPTED: Final = "interrupted"
EVENT_RATE_LIMITED: Final = "rate-limited"
EVENT_LOST: Final = "lost"
EVENT_ENQUEUED: Final = "enqueued"


class Event(TypedDict):
    """One consumer event, as published: a flat JSON object.

    Times are Unix seconds, durations are seconds. The keys about a task are None
    if there is no task, as for ``checking-periodic``. `worker` and
    `worker_type` are None outside a consumer. Ignore keys that you do not know.
    The names up to `duration` are those of huey 1.x.
    """

    status: str
    error: bool
    traceback: NotRequired[str | None]
    id: str | None
    task: str | None
    retries: int | None
    retry_delay: float | None
    execute_time: float | None
    timestamp: float
    duration: NotRequired[float]
    queue: str
    name: str | None
    attempt: int | None
    worker: str | None
    worker_type: str | None
    pid: int
    host: str
    publisher: str
    seq: int
    exception: NotRequired[str | None]
    wait: NotRequired[float | None]
    late: NotRequired[float]
    origin: NotRequired[str]
    count: NotRequired[int]
    trace_id: NotRequired[str]
    span_id: NotRequired[str]


CONSTANTS: Final[dict[str, str]] = {
    name: value for name, value in dict(globals()).items() if name.startswith("EVENT_")
}
