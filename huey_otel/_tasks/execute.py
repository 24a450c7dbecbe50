"""Execute: the run of each popped message, and what huey's own calls raise."""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType, FunctionType
from typing import Any, Final

import huey.api
from huey.api import Huey, Task
from huey.signals import SIGNAL_COMPLETE, SIGNAL_EXECUTING, SIGNAL_RETRYING

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel import mapping
from huey_otel._safety import encodable
from huey_otel._safety.guard import absorb, guarded, guards_itself
from huey_otel._safety.swapping import BASE
from huey_otel._safety.timeout import OVERDUE, raise_what_is_overdue
from huey_otel._tasks.attempt import Attempt, running
from huey_otel._tasks.context import HERE, Doing, Outgoing
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.signs import GOT
from huey_otel._tasks.tracing import Tracing
from huey_otel._wire.record import record_of
from huey_otel.mapping import Row


class Execution:
    """Records what becomes of each popped message, and what huey's own calls raise."""

    def __init__(self, recorder: Recorder, tracing: Tracing) -> None:
        self._recorder = recorder
        self._tracing = tracing

    @guards_itself
    def begins(self, here: Doing, task: Task) -> None:
        """Before huey's execute: the attempt of *task* becomes the current one."""
        try:
            if len(here.attempts) > here.depth:
                self.ends(here, here.depth)
            here.depth += 1
            attempt = here.popped
            if attempt is not None and attempt.task is task:
                here.attempts.append(attempt)
                here.popped = None
            else:
                # Immediate mode, or a task that was popped on another thread.
                attempt = self._unannounced(here, task)
                here.attempts.append(attempt)
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.begins)
        if OVERDUE:
            raise_what_is_overdue()

    def _unannounced(self, here: Doing, task: Task) -> Attempt:
        carrier = None
        outgoing = here.outgoing_of(task)
        if outgoing is not None:
            outgoing.ran = True
            carrier = outgoing.carrier
        facts = self._recorder.facts(task, carrier.attempt if carrier else 1)
        source = self._recorder.source
        attempt = Attempt(source, task, facts, carrier, here.worker)
        attempt.nested = True
        return attempt

    @guards_itself
    def started(self, here: Doing, task: Task) -> None:
        """Huey sends SIGNAL_EXECUTING: the run of *task* begins, and its span."""
        try:
            attempts = here.attempts
            if attempts and attempts[-1].task is task:
                attempt = attempts[-1]
                if not self._tracing.ready:
                    self._tracing.prepare()
                attempt.start()
                running[id(task)] = attempt
                start = self._tracing.start(attempt, attempt.wait)
                self._tell_start(here, attempt, start)
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.started)
        if OVERDUE:
            raise_what_is_overdue()

    def _tell_start(
        self, here: Doing, attempt: Attempt, start: tuple[Any, ...] | None
    ) -> None:
        extra: dict[str, Any] = {"wait": attempt.wait}
        last = here.last
        if len(here.attempts) == 1:
            # The relay closes that one, should its end not have been sent.
            if last:
                extra["after"] = last
            here.last = attempt.key
            here.signs[GOT] = attempt._began
        before, attempt.announced = attempt.announced, True
        relay = self._recorder.relay
        fields = (
            attempt.source,
            e.EVENT_STARTED,
            attempt.started,
            relay.pid,
            attempt.key,
            attempt.worker,
            attempt.facts_tuple,
            attempt.retries,
            extra,
            start,
        )
        if attempt.disowned or not relay.send(record_of(fields), must=before):
            # It was summed up, so the relay cannot tell what it comes after.
            attempt.announced = before
            attempt.summed_up = True
            here.last = last

    @guards_itself
    def finished(self, here: Doing, task: Task) -> None:
        """Huey sends SIGNAL_COMPLETE: the function returned, its result is stored."""
        try:
            attempts = here.attempts
            if attempts and attempts[-1].task is task:
                attempt = attempts[-1]
                attempt.stored = True
                if attempt.end(n.OUTCOME_SUCCESS):
                    if _is_last_word(self._recorder.huey, task):
                        # Told with the end of the attempt, in one record.
                        attempt.finished_extra = {"duration": attempt.duration}
                        if attempt.span is not None and not attempt.span_is_over:
                            self._tracing.end(attempt, None, None)
                    else:
                        self._end(here, attempt, _FINISHED)
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.finished)
        if OVERDUE:
            raise_what_is_overdue()

    def receivers(self) -> dict[str, Callable[[Doing, Task], None]]:
        """What to call, with the Doing of the thread, when huey sends a signal."""
        rows = mapping.BY_SIGNAL.items()
        others = {
            signal: partial(self.signaled, row) for signal, row in rows if row.ends
        }
        return others | {
            SIGNAL_EXECUTING: self.started,
            SIGNAL_COMPLETE: self.finished,
            SIGNAL_RETRYING: self.retries,
        }

    @guarded
    def signaled(self, row: Row, here: Doing, task: Task) -> None:
        """Huey sends the signal of *row*; the application's receivers get it next."""
        attempt = here.attempt_of(task)
        if attempt is None:
            return
        if row.outcome is None:
            attempt.final = row.final
            self._tracing.short(attempt, row.final or "")
            self._recorder.tell(attempt, row.status)
        elif attempt.end(row.outcome):
            self._end(here, attempt, row)

    @guarded
    def retries(self, here: Doing, task: Task) -> None:
        """Huey sends SIGNAL_RETRYING: it puts *task* back next, for another attempt."""
        attempt = here.attempt_of(task)
        if attempt is None:
            return
        # A RetryTask has no signal of its own: the run is over by now.
        if attempt.end(n.OUTCOME_RETRY_REQUESTED):
            goes_on = _goes_on(here, attempt)
            self._tracing.end(attempt, None, None, open_until_left=goes_on)
        attempt.retrying = True
        left = encodable.number(task.retries)
        left = None if left is None else left - 1
        self._recorder.tell(attempt, e.EVENT_RETRYING, retries=left)

    def _end(self, here: Doing, attempt: Attempt, row: Row) -> None:
        """Record the end of a run, of which *row* is the step."""
        extra: dict[str, Any] = {"duration": attempt.duration}
        error = failure = None
        if row.error:
            error = sys.exception()
            failure = self._recorder.failure(error)
            extra.update(failure)
        goes_on = _goes_on(here, attempt)
        self._tracing.end(attempt, failure, error, open_until_left=goes_on)
        self._recorder.tell(attempt, row.status, extra=extra, timestamp=attempt.stopped)
        if attempt.outcome == n.OUTCOME_INTERRUPTED and attempt not in here.attempts:
            # huey's main thread interrupts it; the worker's may record nothing further.
            self._recorder.close(attempt)

    def put_back(self, here: Doing, task: Task) -> None:
        """Close *task* if the application has popped it, and puts it back now."""
        popped = here.popped
        if popped is not None and popped.task is task:
            here.popped = None
            popped.moved = True
            self._recorder.close(popped)

    @guarded
    def scheduled(self, here: Doing, task: Task) -> None:
        """Huey's add_schedule returned: a task that was not due is back there."""
        attempt, outgoing = here.attempt_of(task), here.outgoing_of(task)
        is_popped = here.popped is not None and here.popped.task is task
        if attempt is not None and attempt.started is None:
            attempt.moved = True
        elif outgoing is not None and not is_popped:
            # A retry with a delay, or the application's own call.
            self._recorder.accepted(here, outgoing)
        self.put_back(here, task)

    @guarded
    def requeued(self, here: Doing, task: Task) -> None:
        """Huey's _requeue_task returned: a further attempt follows."""
        attempt = here.attempt_of(task)
        if attempt is not None:
            attempt.moved = True

    @guarded
    def failed(
        self, status: str, error: Exception, outgoing: Outgoing | None = None
    ) -> None:
        """Record *error*, raised by a call that huey made itself; once for each error.

        *outgoing* is what the call enqueued, used if no attempt runs.
        """
        here = HERE.local.doing
        if here.reported is error:
            return
        here.reported = error
        extra = self._recorder.failure(error)
        attempt = here.attempts[-1] if here.attempts else None
        if attempt is None:
            facts = None if outgoing is None else outgoing.facts
            left = None if outgoing is None else outgoing.task.retries
            self._recorder.say(status, facts=facts, retries=left, extra=extra)
            return
        ended_by_this = attempt.end(attempt.outcome_of_function)
        if ended_by_this:
            self._tracing.end(attempt, extra, error)
        if ended_by_this or "duration" in mapping.TABLE[status].extra:
            extra["duration"] = attempt.duration
        left = attempt.task.retries if attempt.retrying else None
        retries = encodable.number(left)
        self._recorder.tell(attempt, status, retries=retries, extra=extra)

    @guarded
    def result_not_stored(self, caller: FrameType, error: Exception) -> None:
        """Huey's put_result raised; where others called it, they handle that."""
        if caller.f_globals is vars(huey.api):
            self.failed(e.EVENT_ERROR_STORING_RESULT, error)

    @guarded
    def not_scheduled(self, caller: FrameType, error: Exception) -> None:
        """Huey's add_schedule raised; where others called it, they handle that."""
        if caller.f_globals is vars(huey.api):
            self.failed(e.EVENT_ERROR_SCHEDULING, error)

    @guards_itself
    def ends(self, here: Doing, depth: int) -> None:
        """Huey's execute is over: close all attempts but the outermost *depth*.

        Several, where an interrupt kept an earlier call from closing its own.
        """
        try:
            attempts = here.attempts
            for attempt in reversed(attempts[depth:]):
                if attempt.started is not None and attempt.outcome is None:
                    attempt.end(attempt.outcome_of_function)
                if attempt.before is not None or attempt.span is not None:
                    self._tracing.leave(attempt)
                held = attempt.held is not None
                attempt.owed = self._tracing.hand_over(attempt) if held else None
                self._recorder.close(attempt)
            del attempts[depth:]
            if not attempts:
                here.reported = here.trailer = here.chord = None
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.ends)
        if OVERDUE:
            raise_what_is_overdue()

    @guarded
    def escaped(self, here: Doing, error: BaseException, depth: int) -> None:
        """*error* left huey's execute: it was the task's, huey's, or an interrupt."""
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
            # sys.exit or another BaseException: huey sends no signal.
            interrupted = isinstance(error, KeyboardInterrupt)
            status = e.EVENT_INTERRUPTED if interrupted else e.EVENT_ERROR_TASK
            row = mapping.TABLE[status]
            if attempt.end(row.outcome or ""):
                self._end(here, attempt, row)
        elif isinstance(error, Exception) and attempt.outcome != n.OUTCOME_INTERRUPTED:
            # huey 2 raises KeyError in a worker whose task was interrupted.
            self.failed(e.EVENT_ERROR_INTERNAL, error)


_FINISHED: Final = mapping.TABLE[e.EVENT_FINISHED]


def _goes_on(here: Doing, attempt: Attempt) -> bool:
    """Whether huey goes on with *attempt* on this thread, and may make spans in it."""
    return bool(here.attempts) and here.attempts[-1] is attempt


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
    below: Any = getattr(kind, BASE, kind)
    return (
        kind._execute is _INNER
        and below.execute is _OUTER
        and below._emit is _EMIT
        and "_execute" not in huey.__dict__
    )


def _own(name: str) -> object:
    """Huey's own method *name*; what equals no method if it is patched already."""
    method = vars(Huey)[name]
    ours = type(method) is FunctionType and method.__globals__ is vars(huey.api)
    return method if ours else _own


_OUTER: Final = _own("execute")
_INNER: Final = _own("_execute")
_EMIT: Final = _own("_emit")
