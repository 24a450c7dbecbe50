"""What each thread, or greenlet, is doing for huey, and the message that it sends."""

import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from huey.api import Task
from opentelemetry.context import Context
from opentelemetry.trace import Span

from huey_otel import _names as n
from huey_otel._safety.forks import in_child
from huey_otel._tasks.attempt import Attempt, disown_all, running
from huey_otel._wire.carrier import Carrier
from huey_otel._wire.record import TaskFacts


@dataclass(slots=True, kw_only=True)
class Current:
    """The span of an enqueue, which is current, and the context `before` it.

    `span` is None where nothing new is enqueued; `error` is why the enqueue failed.
    """

    span: Span | None = None
    before: Context | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class Outgoing(Current):
    """A message on its way to queue or schedule. `late` in seconds, if it was ripe."""

    task: Task
    facts: TaskFacts
    carrier: Carrier
    origin: str
    ripe: Attempt | None = None
    late: float | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Chord:
    """A chord of which a member is done.

    `members` are the traceparents of the members whose results were read, in order.
    `done` is the carrier, in bytes, that goes behind the result of this member.
    """

    size: int
    done: bytes | None
    members: list[str] = field(default_factory=list)


class Doing:
    """What one thread, or greenlet, is doing for huey: one hook writes, a later reads.

    "The hook of" a method of huey's is ours in `_hooks`, around that method. A hook
    puts back what it changes, however the method ends.
    """

    def __init__(self) -> None:
        # The name of the worker; its hook sets it once, `reading_schedule` for the
        # scheduler.
        self.worker: str | None = None

        # The origin that an enqueue made now would have. Set by the hooks that call
        # huey, and by Bodies where the user's own code begins and ends.
        self.caller: str = n.ORIGIN_CALL

        # The message that was popped last. Set after huey's dequeue, taken by its
        # execute; one that is still there at the next dequeue is given up.
        self.popped: Attempt | None = None
        # The runs that go on, the innermost last: in immediate mode they nest. Added
        # to at the begin of huey's execute, closed and removed at its end.
        self.attempts: list[Attempt] = []
        # How many executes go on. More attempts than that were left by an interrupt,
        # and are closed before the next dequeue or execute. Set by execute's hook.
        self.depth = 0
        # The key of the outermost run that started last, 0 before the first: the next
        # one to start tells the in-flight table that this one is over. Set at a start.
        self.last = 0
        # The last error that was recorded, so that it makes one event only. Set by
        # Execution.failed, cleared when the outermost run ends.
        self.reported: BaseException | None = None

        # The message that goes out. Set before huey's enqueue and add_schedule, put
        # back by their hooks.
        self.outgoing: Outgoing | None = None
        # Its carrier, in bytes. Set by the hook of serialize_task, which clears it;
        # the serializer clears it once it is written.
        self.trailer: bytes | None = None
        # The chord of which a member is done. Set by the hook of _check_chord, which
        # clears it; taken by the enqueue of the chord's callback.
        self.chord: Chord | None = None

        # The carrier of the message that was decoded last. Set by the serializer.
        self.incoming: Carrier | None = None
        # What is read: a message that cannot be decoded there is lost. Set by the
        # hooks of dequeue and read_schedule, which clear it.
        self.reading: object = None

        # What the scheduler has read and not enqueued yet, by the id of the Task. Set
        # while it reads; an enqueue takes its own, the next reading abandons the rest.
        self.ripe: dict[int, Attempt] = {}
        # The periodic tasks that are due, likewise. Set after huey's read_periodic.
        self.due: dict[int, Task] = {}

        # Failed dequeues that no event has told of, the last of their errors, and when
        # the last event was made (by time.monotonic, None outside of a streak).
        self.dequeue_errors = 0
        self.dequeue_error: BaseException | None = None
        self.dequeue_reported: float | None = None

    def outgoing_of(self, task: Task) -> Outgoing | None:
        """What is known of *task*, if it is the one that goes out now."""
        outgoing = self.outgoing
        return outgoing if outgoing is not None and outgoing.task is task else None

    def attempt_of(self, task: Task) -> Attempt | None:
        """The attempt that runs *task*, on this thread or another; None outside one."""
        if self.attempts and self.attempts[-1].task is task:
            return self.attempts[-1]
        return running.get(id(task))


class Here:
    """Where each thread, or greenlet, has its Doing: in `local.doing`.

    Read that once in a function: a thread's own attribute takes five times as long as
    another one.
    """

    def __init__(self) -> None:
        self._make()
        in_child(self.renew)

    def _make(self) -> None:
        # A class of its own each time, since gevent replaces `threading.local`.
        class Local(threading.local):
            def __init__(self) -> None:
                self.doing = Doing()

        self.local = Local()

    def renew(self) -> None:
        """Forget what this thread was doing, and disown the attempts of all threads.

        For a forked child, or where gevent has replaced threads.
        """
        disown_all()
        if not isinstance(self.local, threading.local):
            self._make()
        # In place: frames that were on the stack at a fork hold this Doing.
        self.local.doing.__init__()  # type: ignore[misc]  # no other way to reset all


HERE: Final = Here()


class Bodies(set[Any]):
    """The tasks in flight, a set that huey changes right before and after a body.

    So we know what is the user's code without leaving anything on the Task,
    where a `copy.copy(task)` would take it along.
    """

    def add(self, task: Task) -> None:
        """The body begins: what is enqueued now, the user enqueues."""
        super().add(task)
        here = HERE.local.doing
        here.caller = n.ORIGIN_CALL
        if here.attempts:
            here.attempts[-1].outer_error = sys.exception()

    def discard(self, task: object) -> None:
        """The body is over, huey 3.x."""
        super().discard(task)
        self._over()

    def remove(self, task: Task) -> None:
        """The body is over, huey 2.x; KeyError if an interrupt had taken *task* out."""
        self._over()
        super().remove(task)

    def _over(self) -> None:
        here = HERE.local.doing
        if here.attempts:
            attempt = here.attempts[-1]
            error = sys.exception()
            if error is None or error is attempt.outer_error:
                attempt.returned = True
            else:
                attempt.raised = error
            attempt.outer_error = None
            here.caller = n.ORIGIN_PIPELINE
