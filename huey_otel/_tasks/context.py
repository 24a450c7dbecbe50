"""What each thread, or greenlet, is doing for huey."""

import sys
import threading
from typing import Any, Final

from huey.api import Task

from huey_otel import _names as n
from huey_otel._safety.forks import in_child
from huey_otel._tasks.attempt import Attempt, disown_all, running
from huey_otel._tasks.message import Chord, Outgoing
from huey_otel._wire.carrier import Carrier


class Doing:
    """What one thread, or greenlet, is doing for huey.

    `caller` is the origin that an enqueue made now would have. `attempts` is
    a stack, because in immediate mode runs nest. `last` is the key of the one at
    its bottom that started last.
    """

    __slots__ = (
        *("attempts", "caller", "chord", "dequeue_error", "dequeue_errors"),
        *("dequeue_reported", "due", "incoming", "last", "outgoing", "popped"),
        *("reading", "reported", "ripe", "trailer", "undecodable", "worker", "written"),
    )

    def __init__(self) -> None:
        self.caller: str = n.ORIGIN_CALL
        self.attempts: list[Attempt] = []
        self.last = 0
        self.popped: Attempt | None = None
        self.incoming: Carrier | None = None
        self.outgoing: Outgoing | None = None
        self.trailer: bytes | None = None
        self.written = False
        self.chord: Chord | None = None
        self.reading: object = None
        self.undecodable: BaseException | None = None
        self.ripe: dict[int, Attempt] = {}
        self.due: dict[int, Task] = {}
        self.reported: BaseException | None = None
        self.worker: str | None = None
        self.dequeue_errors = 0
        self.dequeue_error: BaseException | None = None
        self.dequeue_reported: float | None = None

    def outgoing_of(self, task: Task) -> Outgoing | None:
        """What is known of *task* on its way out; None if it is another one's."""
        outgoing = self.outgoing
        return outgoing if outgoing is not None and outgoing.task is task else None

    def attempt_of(self, task: Task) -> Attempt | None:
        """The attempt that runs *task*, on this thread or another; None outside one."""
        if self.attempts and self.attempts[-1].task is task:
            return self.attempts[-1]
        return running.get(id(task))


class Here(threading.local):
    """Another `doing` for each thread.

    Looked up once where more than one thing is asked of it: an attribute of a
    thread's own takes five times as long as a slot.
    """

    def __init__(self) -> None:
        self.doing = Doing()


HERE = Here()
"""What the current thread is doing, or greenlet once gevent has patched."""


class _Place:
    """Where HERE is, in all modules that know it by that name."""

    def renew(self) -> None:
        """Begin anew in a child, or with greenlets in the place of threads."""
        before = HERE
        if not isinstance(before, threading.local):
            made: Any = type(
                Here.__name__, (threading.local,), {"__init__": Here.__init__}
            )
            here = made()
            for name, module in list(sys.modules.items()):
                if name.startswith(_PACKAGE) and vars(module).get("HERE") is before:
                    vars(module)["HERE"] = here
        begin_anew()


def begin_anew() -> None:
    """Forget what this thread was doing, and disown the attempts of all.

    In place: frames that a fork took along have it in their hands.
    """
    disown_all()
    HERE.doing.__init__()  # type: ignore[misc]  # as threading.local does for a new thread


_PACKAGE: Final = __name__.partition(".")[0]
_place: Final = _Place()
in_child(_place.renew)


class Bodies(set[Any]):
    """The tasks in flight, a set that huey changes right before and after a body.

    So we know what is the user's code without leaving anything on the Task,
    where a `copy.copy(task)` would take it along.
    """

    def add(self, task: Task) -> None:
        """The body begins: what is enqueued now, the user enqueues."""
        super().add(task)
        here = HERE.doing
        here.caller = n.ORIGIN_CALL
        if here.attempts:
            here.attempts[-1].outer = sys.exception()

    def discard(self, task: object) -> None:
        """The body is over, huey 3.x."""
        super().discard(task)
        self._over()

    def remove(self, task: Task) -> None:
        """The body is over, huey 2.x; KeyError if an interrupt had taken *task* out."""
        self._over()
        super().remove(task)

    def _over(self) -> None:
        here = HERE.doing
        if here.attempts:
            attempt = here.attempts[-1]
            error = sys.exception()
            if error is None or error is attempt.outer:
                attempt.returned = True
            else:
                attempt.raised = error
            attempt.outer = None
            here.caller = n.ORIGIN_PIPELINE
