"""Attempts: a popped message and the run it comes to, ended exactly once."""

import itertools
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

from huey.api import Task
from huey.exceptions import RetryTask
from opentelemetry.context import Context
from opentelemetry.trace import Span

from huey_otel import _names as n
from huey_otel._carrier import Carrier
from huey_otel._forks import in_child
from huey_otel._records import TaskFacts

_keys = itertools.count(1)


class Attempt:
    """A message that was popped, and the run it came to, if it came to one.

    Keyed by process and sequence, never by task id, which repeats. `outcome`
    is how the run ended, None until then; `raised` what the task's function
    raised; `final` what that makes of the task, set early where a signal says it.
    """

    __slots__ = (
        "_alive",
        "_began",
        "_open",
        "announced",
        "before",
        "carrier",
        "disowned",
        "duration",
        "escaped",
        "facts",
        "final",
        "hops",
        "key",
        "moved",
        "nested",
        "outcome",
        "outer",
        "raised",
        "requeued",
        "retries",
        "retrying",
        "returned",
        "span",
        "started",
        "stored",
        "task",
        "worker",
    )

    def __init__(
        self, task: Task, facts: TaskFacts, carrier: Carrier | None, worker: str | None
    ) -> None:
        self.key = next(_keys)
        self.task = task
        self.facts = facts
        self.carrier = carrier
        self.worker = worker
        self.retries: int = task.retries
        self.started: float | None = None
        self.duration: float | None = None
        self.outcome: str | None = None
        self.final: str | None = None
        self.raised: BaseException | None = None
        self.outer: BaseException | None = None
        self.announced = False
        self.disowned = False
        self.escaped = False
        self.moved = False
        self.requeued = False
        self.retrying = False
        self.returned = False
        self.stored = False
        self.nested = False
        self.hops = 0 if carrier is None else carrier.hops
        self.span: Span | None = None
        self.before: Context | None = None
        # Emptied by whoever comes first: list.pop is one step, whatever thread
        # or signal handler is in between.
        self._alive = [True]
        self._open = [True]
        unfinished[self.key] = self
        self._began = 0.0

    def start(self) -> float | None:
        """The run begins; seconds it waited since it was due, None if unknown."""
        self._began = time.monotonic()
        self.started = time.time()
        self.retries = self.task.retries
        if self.carrier is None:
            return None
        due = max(self.carrier.enqueued, self.carrier.eta or 0.0)
        return max(0.0, self.started - due)

    def end(self, outcome: str) -> bool:
        """The run is over; False if it was before, and nothing changes."""
        if self.started is None or not _popped(self._alive):
            return False
        self.duration = time.monotonic() - self._began
        self.outcome = outcome
        return True

    def close(self) -> bool:
        """All is known; False if it was before."""
        unfinished.pop(self.key, None)
        return _popped(self._open)

    def disown(self) -> None:
        """Leave it to the process we come from, or to who declares it lost."""
        self.disowned = True
        self._alive.clear()
        self._open.clear()

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.outcome is not None

    @property
    def outcome_of_function(self) -> str:
        """What the function did, where no signal of huey's says it."""
        if self.returned:
            return n.OUTCOME_SUCCESS
        if isinstance(self.raised, RetryTask):
            return n.OUTCOME_RETRY_REQUESTED
        return n.OUTCOME_ERROR

    @property
    def final_outcome(self) -> str | None:
        """What became of the task, None if it is back on queue or schedule."""
        if self.final is not None:
            return self.final
        if self.moved or self.requeued:
            return None
        if self.outcome == n.OUTCOME_SUCCESS:
            return n.OUTCOME_SUCCESS if self.stored else n.OUTCOME_FAILURE
        if self.outcome == n.OUTCOME_INTERRUPTED:
            return n.OUTCOME_INTERRUPTED
        if self.escaped or self.outcome in (n.OUTCOME_ERROR, n.OUTCOME_RETRY_REQUESTED):
            return n.OUTCOME_FAILURE
        return self.outcome


def _popped(flag: list[bool]) -> bool:
    try:
        return flag.pop()
    except IndexError:
        return False


@dataclass(slots=True, kw_only=True)
class Current:
    """A span of an enqueue that is current, and what was so `before`.

    `span` is None for what is no new enqueue; `error` what made it fail.
    """

    span: Span | None = None
    before: Context | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class Outgoing(Current):
    """A message on its way to queue or schedule. `late` in seconds, if it was ripe."""

    task: Task
    carrier: Carrier
    origin: str
    ripe: Attempt | None = None
    late: float | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Chord:
    """A chord of which a member is done, and the spans of those whose results are read.

    As traceparents, in the order of the members. `done` is the carrier that
    goes behind the result of this one, as bytes.
    """

    size: int
    done: bytes | None
    members: list[str] = field(default_factory=list)


class Doing:
    """What one thread, or greenlet, is doing for huey.

    `caller` is the origin that an enqueue made now would have. `attempts` is
    a stack, because in immediate mode runs nest.
    """

    def __init__(self) -> None:
        self.caller: str = n.ORIGIN_CALL
        self.attempts: list[Attempt] = []
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

    def renew(self) -> None:
        """Begin anew, in a child that was forked from this thread."""
        disown_all()
        self.__dict__.clear()
        self.__init__()  # type: ignore[misc]  # as threading.local does for a new thread

    def attempt_of(self, task: Task) -> Attempt | None:
        """The attempt that runs *task*, on this thread or another; None outside one."""
        if self.attempts and self.attempts[-1].task is task:
            return self.attempts[-1]
        return running.get(id(task))


unfinished: Final[dict[int, "Attempt"]] = {}
"""All that is not closed, of all threads, by key."""


def disown_all() -> None:
    """Say no more of any attempt of this process: somebody else does, or nobody."""
    for attempt in list(unfinished.values()):
        attempt.disown()
    unfinished.clear()
    running.clear()


running: Final[dict[int, Attempt]] = {}
"""Started attempts of all threads by Task object: the main one interrupts them."""


class Here(Doing, threading.local):
    """Another one for each thread."""


HERE = Here()
"""What the current thread is doing, or greenlet once gevent has patched."""


class _Place:
    """Where HERE is, in all modules that know it by that name."""

    def renew(self) -> None:
        """Begin anew in a child, or with greenlets in the place of threads."""
        before = HERE
        if not isinstance(before, threading.local):
            made: Any = type(Here.__name__, (Doing, threading.local), {})
            here = made()
            for name, module in list(sys.modules.items()):
                if name.startswith(_PACKAGE) and vars(module).get("HERE") is before:
                    vars(module)["HERE"] = here
        HERE.renew()


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
        HERE.caller = n.ORIGIN_CALL
        if HERE.attempts:
            HERE.attempts[-1].outer = sys.exception()

    def discard(self, task: object) -> None:
        """The body is over, huey 3.x."""
        super().discard(task)
        self._over()

    def remove(self, task: Task) -> None:
        """The body is over, huey 2.x; KeyError if an interrupt had taken *task* out."""
        self._over()
        super().remove(task)

    def _over(self) -> None:
        if HERE.attempts:
            attempt = HERE.attempts[-1]
            error = sys.exception()
            attempt.raised = None if error is attempt.outer else error
            attempt.returned = attempt.raised is None
            attempt.outer = None
            HERE.caller = n.ORIGIN_PIPELINE
