"""Dequeue: the messages that a worker pops, and those the scheduler finds ripe."""

import time
from enum import Enum
from typing import Any

from huey.api import Task

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel import mapping
from huey_otel._safety.guard import absorb, guarded, guards_itself
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import OVERDUE, raise_what_is_overdue
from huey_otel._tasks.attempt import Attempt
from huey_otel._tasks.context import HERE, Doing
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.signs import LOOKED
from huey_otel._wire.carrier import Carrier, TrailerError, decode, without_trailer

_REPORT_EVERY = 10.0
"""Seconds between two error-dequeueing of one worker in a streak."""


class Reading(Enum):
    """What huey reads: a message that cannot be decoded is lost in either case."""

    QUEUE = "queue"
    SCHEDULE = "schedule"


class Dequeue:
    """Records each message that leaves the queue or the schedule."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @guarded
    def reading_schedule(self) -> None:
        """Before huey's read_schedule, which returns what the scheduler then holds."""
        here = HERE.local.doing
        if here.worker is None and self._recorder.worker_type is not None:
            here.worker = n.SCHEDULER
        here.signs = self._recorder.scheduler
        here.signs[LOOKED] = time.monotonic()
        for attempt in here.ripe.values():
            self._abandon(attempt)
        here.ripe = {}
        if here.dequeue_errors:
            self.report_when_due()
        here.reading = Reading.SCHEDULE

    @guarded
    def unwrapped(self, data: Any) -> bytes | None:
        """*data* without its envelope; None if there is none.

        Always read, so that a fleet can upgrade before `envelope=` is set anywhere.
        """
        if type(data) is not bytes or read_carrier(data) is None:
            return None
        return without_trailer(data)

    @guarded
    def ripe(self, task: Task) -> None:
        """*task* was read from the schedule, which removes it there."""
        here = HERE.local.doing
        here.signs[LOOKED] = time.monotonic()
        here.ripe[id(task)] = self._popped(here, task)

    @guarded
    def undecodable(self, error: Exception) -> None:
        """Huey drops a message that it could not decode."""
        reading = HERE.local.doing.reading
        if reading is Reading.SCHEDULE:
            self.failed(error)
        if reading is not None:
            self._recorder.lose()

    @guarded
    def failed(self, error: Exception) -> None:
        """Huey could not read: storage is away, or the message was undecodable."""
        here = HERE.local.doing
        here.dequeue_errors += 1
        here.dequeue_error = error
        self.report_when_due()

    @guards_itself
    def dequeued(self, here: Doing, task: Task) -> None:
        """A worker has popped *task*."""
        try:
            if here.dequeue_reported is not None:
                if here.dequeue_errors:
                    self._report_rest()
                here.dequeue_reported = None
            if here.popped is not None:
                self._abandon(here.popped)
            here.popped = self._popped(here, task)
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.dequeued)
        if OVERDUE:
            raise_what_is_overdue()

    def _popped(self, here: Doing, task: Task) -> Attempt:
        recorder, message = self._recorder, here.incoming
        carrier = None if message is None else read_carrier(message)
        facts = recorder.facts(task, 1 if carrier is None else carrier.attempt)
        attempt = Attempt(recorder.source, task, facts, carrier, here.worker)
        if recorder.relay.forked or recorder.settings.semconv_metrics:
            # Otherwise `Workers.abandon` knows what a thread of this process holds. In
            # one statement: it may run in another thread.
            tell = recorder.tell
            attempt.announced, attempt.dequeued = tell(attempt, mapping.DEQUEUED), True
        return attempt

    def _abandon(self, attempt: Attempt) -> None:
        """Close *attempt* without an outcome: it was popped and never executed."""
        if attempt.close() and attempt.announced:
            extra = {"outcome": None, "final": None}
            self._recorder.tell(attempt, mapping.ENDED, extra=extra, must=True)

    @guarded
    def report_when_due(self) -> None:
        """Emit one event for the errors that have none, at most one per 10 s."""
        reported = HERE.local.doing.dequeue_reported
        if reported is None or time.monotonic() - reported >= _REPORT_EVERY:
            self._report_rest()

    def _report_rest(self) -> None:
        here = HERE.local.doing
        extra = self._recorder.failure(here.dequeue_error)
        extra["count"] = here.dequeue_errors
        here.dequeue_errors, here.dequeue_error = 0, None
        here.dequeue_reported = time.monotonic()
        self._recorder.say(e.EVENT_ERROR_DEQUEUEING, extra=extra)

    @guarded
    def checking_periodic(self) -> None:
        """Before huey's read_periodic, which the scheduler calls each minute."""
        self._recorder.say(e.EVENT_CHECKING_PERIODIC)

    @guarded
    def due(self, tasks: list[Task]) -> None:
        """Huey's read_periodic returned *tasks*; the scheduler enqueues them next."""
        HERE.local.doing.due = {id(task): task for task in tasks}


def read_carrier(message: bytes) -> Carrier | None:
    """The carrier behind *message*; None without one, or if it cannot be read."""
    try:
        return decode(message)
    except TrailerError as error:
        LOSSES.count(n.LOSS_CARRIER, why=f"a message came with a {error}")
        return None
