"""Execute: huey's signals and errors, from its execute to the return of that."""

import sys
from types import FunctionType
from typing import Any, Final

import huey.api
from huey.api import Huey, Task
from huey.signals import SIGNAL_COMPLETE

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel import mapping
from huey_otel._safety import encodable
from huey_otel._safety.guard import guarded
from huey_otel._safety.swapping import class_below
from huey_otel._tasks.attempt import Attempt, running
from huey_otel._tasks.context import HERE, Doing
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.tracing import Tracing
from huey_otel._wire.span import SpanStart
from huey_otel.mapping import Row


class Execution:
    """Records what becomes of each popped message, and what huey's own calls raise."""

    def __init__(self, recorder: Recorder, tracing: Tracing) -> None:
        self._recorder = recorder
        self._tracing = tracing

    @guarded
    def begins(self, task: Task) -> None:
        """Before huey's execute: the attempt of *task* becomes the current one."""
        here = HERE.local.doing
        if len(here.attempts) > here.depth:
            self.ends(here.depth)
        here.depth += 1
        attempt = here.popped
        if attempt is not None and attempt.task is task:
            here.attempts.append(attempt)
            here.popped = None
        else:
            # Immediate mode, or a task that was popped on another thread.
            here.attempts.append(self._unannounced(here, task))

    def _unannounced(self, here: Doing, task: Task) -> Attempt:
        outgoing = here.outgoing_of(task)
        carrier = None if outgoing is None else outgoing.carrier
        facts = self._recorder.facts(task, carrier.attempt if carrier else 1)
        source = self._recorder.source
        attempt = Attempt(source, task, facts, carrier, here.worker)
        attempt.nested = True
        return attempt

    @guarded
    def signaled(self, signal: str, task: Task) -> None:
        """Huey sends *signal* next; the application's receivers get it after us."""
        row = mapping.BY_SIGNAL.get(signal)
        attempt = HERE.local.doing.attempt_of(task)
        if row is None or attempt is None:
            return
        if row.status == e.EVENT_STARTED:
            self._start(attempt)
        elif row.status == e.EVENT_RETRYING:
            # A RetryTask has no signal of its own: the run is over by now.
            start = None
            if attempt.end(n.OUTCOME_RETRY_REQUESTED):
                goes_on = _goes_on(attempt)
                self._tracing.end(attempt, None, None, open_until_left=goes_on)
                start = _start_of_open(attempt) if goes_on else None
            attempt.retrying = True
            left = encodable.number(task.retries)
            left = None if left is None else left - 1
            self._recorder.tell(attempt, row.status, retries=left, start=start)
        elif row.outcome is not None:
            self._end(attempt, row, row.outcome)
        elif row.final is not None:
            attempt.final = row.final
            self._tracing.short(attempt, row.final)
            self._recorder.tell(attempt, row.status)

    def _start(self, attempt: Attempt) -> None:
        if not self._tracing.ready:
            self._tracing.prepare()
        attempt.wait = wait = attempt.start()
        running[id(attempt.task)] = attempt
        attempt.span_start = start = self._tracing.start(attempt, wait)
        extra: dict[str, Any] = {"wait": wait}
        here = HERE.local.doing
        last = here.last
        if len(here.attempts) == 1:
            # The relay closes that one, should its end not have been sent.
            if last:
                extra["after"] = last
            here.last = attempt.key
        before, attempt.announced = attempt.announced, True
        attempt.announced = before | self._recorder.tell(
            attempt,
            e.EVENT_STARTED,
            extra=extra,
            timestamp=attempt.started,
            start=start,
            must=before,
        )
        if not attempt.announced:
            # It was summed up, so the relay cannot tell what it comes after.
            here.last = last

    def _end(self, attempt: Attempt, row: Row, outcome: str) -> None:
        if outcome == n.OUTCOME_SUCCESS:
            attempt.stored = True
        if not attempt.end(outcome):
            return
        extra: dict[str, Any] = {"duration": attempt.duration}
        error = failure = None
        if row.error:
            error = sys.exception()
            failure = self._recorder.failure(error)
            extra.update(failure)
        last = row.status == e.EVENT_FINISHED and _is_last_word(
            self._recorder.huey, attempt.task
        )
        goes_on = not last and _goes_on(attempt)
        self._tracing.end(attempt, failure, error, open_until_left=goes_on)
        if last:
            attempt.finished_extra = extra
            return
        start = _start_of_open(attempt) if goes_on else None
        self._recorder.tell(
            attempt, row.status, extra=extra, timestamp=attempt.stopped, start=start
        )
        if (
            outcome == n.OUTCOME_INTERRUPTED
            and attempt not in HERE.local.doing.attempts
        ):
            # huey's main thread interrupts it; the worker's may record nothing further.
            self._close(attempt)

    @guarded
    def not_enqueued(self, task: Task, error: BaseException) -> None:
        """Huey's enqueue raised; only huey's own enqueues are an event."""
        outgoing = HERE.local.doing.outgoing_of(task)
        if outgoing is None:
            return
        if self._recorder.huey.immediate:
            # It is the run that raised, inside of the enqueue.
            return
        outgoing.error = error
        if outgoing.origin != n.ORIGIN_CALL and isinstance(error, Exception):
            self.failed(e.EVENT_ERROR_ENQUEUEING, error, task)
        if outgoing.ripe is not None:
            outgoing.ripe.escaped = True
            self._close(outgoing.ripe)

    @guarded
    def enqueued(self, task: Task) -> None:
        """Huey's enqueue returned: a ripe task is no longer the scheduler's."""
        here = HERE.local.doing
        outgoing = here.outgoing_of(task)
        if outgoing is None:
            return
        if not self._recorder.huey.immediate:
            self._recorder.accepted(outgoing)
        if outgoing.ripe is not None:
            outgoing.ripe.moved = True
            self._close(outgoing.ripe)
        if here.popped is not None:
            self._put_back(task)

    def _put_back(self, task: Task) -> None:
        """Close *task* if the application has popped it, and puts it back now."""
        here = HERE.local.doing
        popped = here.popped
        if popped is not None and popped.task is task:
            here.popped = None
            popped.moved = True
            self._close(popped)

    @guarded
    def scheduled(self, task: Task) -> None:
        """Huey's add_schedule returned: a task that was not due is back there."""
        attempt = HERE.local.doing.attempt_of(task)
        if attempt is not None and attempt.started is None:
            attempt.moved = True
        self._put_back(task)

    @guarded
    def requeued(self, task: Task) -> None:
        """Huey's _requeue_task returned: a further attempt follows."""
        attempt = HERE.local.doing.attempt_of(task)
        if attempt is not None:
            attempt.moved = True

    @guarded
    def escaped(self, error: BaseException, depth: int) -> None:
        """*error* left huey's execute: it was the task's, huey's, or an interrupt."""
        here = HERE.local.doing
        if len(here.attempts) <= depth:
            return
        attempt = here.attempts[depth]
        attempt.escaped = True
        if isinstance(error, KeyboardInterrupt) and attempt.started is None:
            # Popped and not run: huey sends no signal.
            attempt.final = n.OUTCOME_INTERRUPTED
            self._recorder.tell(attempt, e.EVENT_INTERRUPTED)
        if here.reported is error:
            return
        if attempt.started is not None and not isinstance(error, Exception):
            if isinstance(error, KeyboardInterrupt):
                row = mapping.TABLE[e.EVENT_INTERRUPTED]
                self._end(attempt, row, n.OUTCOME_INTERRUPTED)
            else:
                # sys.exit or another BaseException: huey sends no signal.
                self._end(attempt, mapping.TABLE[e.EVENT_ERROR_TASK], n.OUTCOME_ERROR)
        elif isinstance(error, Exception) and attempt.outcome != n.OUTCOME_INTERRUPTED:
            # huey 2 raises KeyError in a worker whose task was interrupted.
            self.failed(e.EVENT_ERROR_INTERNAL, error)

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
            self._failed_outside(status, extra, task)
            return
        ended_by_this = attempt.end(attempt.outcome_of_function)
        if ended_by_this:
            self._tracing.end(attempt, extra, error)
        if ended_by_this or "duration" in mapping.TABLE[status].extra:
            extra["duration"] = attempt.duration
        left = attempt.task.retries if attempt.retrying else None
        retries = encodable.number(left)
        self._recorder.tell(attempt, status, retries=retries, extra=extra)

    def _failed_outside(
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

    @guarded
    def ends(self, depth: int) -> None:
        """Close all attempts but the outermost *depth*: their execute has returned.

        Several, where an interrupt kept an earlier call from closing its own.
        """
        here = HERE.local.doing
        attempts = here.attempts
        for attempt in reversed(attempts[depth:]):
            if attempt.started is not None and attempt.outcome is None:
                attempt.end(attempt.outcome_of_function)
            self._tracing.leave(attempt)
            self._close(attempt)
        del attempts[depth:]
        if not attempts:
            here.reported = here.trailer = here.chord = None

    def _close(self, attempt: Attempt) -> None:
        if running.get(id(attempt.task)) is attempt:
            # The end of the process may empty it at any time.
            running.pop(id(attempt.task), None)
        self._recorder.ended(attempt)


def _goes_on(attempt: Attempt) -> bool:
    """Whether huey goes on with *attempt* on this thread, and may make spans in it."""
    attempts = HERE.local.doing.attempts
    return bool(attempts) and attempts[-1] is attempt


def _start_of_open(attempt: Attempt) -> tuple[Any, ...] | None:
    """What makes the span of *attempt*, if sampled, once its worker has died."""
    if attempt.facts.span_id is None:
        return None
    start = SpanStart(*(attempt.span_start or ()))
    return tuple(start._replace(wait=attempt.wait))


def _is_last_word(huey: Huey, task: Task) -> bool:
    """Whether nothing but the end of its attempt follows the success of *task*.

    In huey's own code nothing does. A subclass or a patch may go on for any time.
    """
    if task.on_complete is not None or getattr(task, "chord_config", None):
        return False
    receivers = huey._signal.receivers
    if receivers["any"] or receivers.get(SIGNAL_COMPLETE):
        return False
    kind: Any = type(huey)
    below: Any = class_below(huey)
    return (
        kind._execute is _INNER
        and below.execute is _OUTER
        and below._emit is _EMIT
        and "_execute" not in vars(huey)
    )


def _own(name: str) -> object:
    """Huey's own method *name*; what equals no method if it is patched already."""
    method = vars(Huey)[name]
    ours = type(method) is FunctionType and method.__globals__ is vars(huey.api)
    return method if ours else _own


_OUTER: Final = _own("execute")
_INNER: Final = _own("_execute")
_EMIT: Final = _own("_emit")
