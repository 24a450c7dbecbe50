"""Errors: what a call of huey's own raised, outside of a task's function."""

from typing import Any

from huey.api import Task

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel import mapping
from huey_otel._safety import encodable
from huey_otel._safety.guard import guarded
from huey_otel._tasks.context import HERE
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.tracing import Tracing


class Errors:
    """Records each error once, and ends the attempt that it cuts short."""

    def __init__(self, recorder: Recorder, tracing: Tracing) -> None:
        self._recorder = recorder
        self._tracing = tracing

    @guarded
    def failed(self, status: str, error: Exception, task: Task | None = None) -> None:
        """Record *error*, raised by a call that huey made itself; once for each error.

        *task* is the task of the call, used if no attempt runs.
        """
        here = HERE.local.doing
        if here.reported is error:
            return
        here.reported = error
        extra = self._recorder.failure(error)
        attempt = here.attempts[-1] if here.attempts else None
        if attempt is None:
            self._say_failed(status, extra, task)
            return
        ended_by_this = attempt.end(attempt.outcome_of_function)
        if ended_by_this:
            self._tracing.end(attempt, extra, error)
        if ended_by_this or "duration" in mapping.TABLE[status].extra:
            extra["duration"] = attempt.duration
        left = attempt.task.retries if attempt.retrying else None
        retries = encodable.number(left)
        self._recorder.tell(attempt, status, retries=retries, extra=extra)

    def _say_failed(
        self, status: str, extra: dict[str, Any], task: Task | None
    ) -> None:
        if task is None:
            self._recorder.say(status, extra=extra)
            return
        outgoing = HERE.local.doing.outgoing
        attempt = outgoing.carrier.attempt if outgoing is not None else 1
        facts = self._recorder.facts(task, attempt)
        self._recorder.say(status, facts=facts, retries=task.retries, extra=extra)

    @guarded
    def result_not_stored(self, error: Exception) -> None:
        """Huey's put_result raised; where the task called it, the task handles that."""
        if HERE.local.doing.caller == n.ORIGIN_PIPELINE:
            self.failed(e.EVENT_ERROR_STORING_RESULT, error)

    @guarded
    def not_scheduled(self, error: Exception) -> None:
        """Huey's add_schedule raised."""
        if HERE.local.doing.caller != n.ORIGIN_CALL:
            self.failed(e.EVENT_ERROR_SCHEDULING, error)
