"""What each thread, or greenlet, is doing for huey, and the message that it sends."""

import sys
import threading
from collections.abc import Iterator, MutableSet
from typing import Any, Final

from huey.api import Task
from opentelemetry.context import Context
from opentelemetry.trace import Span

from huey_otel._safety.forks import in_child
from huey_otel._tasks.attempt import Attempt, disown_all, running
from huey_otel._tasks.signs import NOBODYS
from huey_otel._wire.carrier import Carrier
from huey_otel._wire.record import TaskFacts


class Current:
    """The span of an enqueue, which is current, and the context `before` it.

    `span` is None where nothing new is enqueued; `error` is why the enqueue failed.
    """

    error: BaseException | None = None

    def __init__(self, span: Span | None = None, before: Context | None = None) -> None:
        self.span = span
        self.before = before


class Outgoing(Current):
    """A message on its way to queue or schedule.

    `ripe` is what the scheduler moves, and `late`, in seconds, how late it does.
    `trailer` is the carrier in bytes. `ran` once it runs inside of
    its enqueue (immediate mode).
    """

    ripe: Attempt | None = None
    late: float | None = None
    trailer: bytes | None = None
    ran = False
    began = 0.0

    def __init__(
        self, task: Task, facts: TaskFacts, carrier: Carrier, origin: str
    ) -> None:
        # Not by the class above, since every task takes this way.
        self.span = self.before = None
        self.task = task
        self.facts = facts
        self.carrier = carrier
        self.origin = origin


class Chord:
    """A chord of which a member is done.

    `read` are the ends of members' results that huey has read, in order; behind each is
    a carrier. `done` is that of this member, in bytes.
    """

    def __init__(self, size: int, done: bytes | None) -> None:
        self.size = size
        self.done = done
        self.read: list[bytes] = []


class Doing:
    """What one thread, or greenlet, is doing for huey: one hook writes, a later reads.

    "The hook of" a method of huey's is ours in `_hooks`, around that method. A hook
    puts back what it changes, however the method ends.
    """

    def __init__(self) -> None:
        # The name of the worker; its hook sets it once, `reading_schedule` for the
        # scheduler.
        self.worker: str | None = None
        # Where a worker or the scheduler shows what it does. Set by the hooks of a
        # worker's loop and of read_schedule.
        self.signs = NOBODYS

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
        # The task that huey puts back for its retry. Set by the hook of _requeue_task.
        self.requeued: Task | None = None
        # The carrier in bytes. Set by the hook of serialize_task, which clears it;
        # the serializer clears it once it is written.
        self.trailer: bytes | None = None
        # The chord of which a member is done. Set by the hook of _check_chord, which
        # clears it; taken by the enqueue of the chord's callback.
        self.chord: Chord | None = None

        # The end of the message that is decoded, which has its carrier. Set by the
        # serializer and by the hook of deserialize_task.
        self.incoming: bytes | None = None
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


class Bodies(MutableSet[Any]):
    """The tasks in flight, a set that huey changes right before and after a body.

    So we know what is the user's code without leaving anything on the Task, where a
    `copy.copy(task)` would take it along. They are kept in huey's *own* set: another
    thread may be about to change that when this one takes its place, or leaves it.
    """

    def __init__(self, own: set[Any]) -> None:
        self.own = own

    def __contains__(self, task: object) -> bool:
        return task in self.own

    def __iter__(self) -> Iterator[Any]:
        return iter(self.own)

    def __len__(self) -> int:
        return len(self.own)

    def pop(self) -> Any:
        """Take one out, of which huey says that it was interrupted."""
        return self.own.pop()

    def add(self, task: Task) -> None:
        """The body begins."""
        self.own.add(task)
        attempts = HERE.local.doing.attempts
        if attempts:
            attempts[-1].in_body = True
            attempts[-1].outer_error = sys.exception()

    def discard(self, task: object) -> None:
        """The body is over, huey 3.x."""
        self.own.discard(task)
        attempts = HERE.local.doing.attempts
        if attempts:
            attempt = attempts[-1]
            attempt.in_body = False
            error = sys.exception()
            if error is None or error is attempt.outer_error:
                attempt.returned = True
            else:
                attempt.raised = error

    def remove(self, task: Task) -> None:
        """The body is over, huey 2.x; KeyError if an interrupt had taken *task* out."""
        known = task in self
        self.discard(task)
        if not known:
            raise KeyError(task)
