"""Attempts: a popped message and the run it comes to, ended exactly once."""

import itertools
import time
from typing import Any, Final

from huey.api import Task
from huey.exceptions import RetryTask
from opentelemetry.context import Context
from opentelemetry.trace import Span

from huey_otel import _names as n
from huey_otel._safety import encodable
from huey_otel._wire.carrier import Carrier
from huey_otel._wire.record import TaskFacts

_keys = itertools.count(1)


class Attempt:
    """A message that was popped, and the run it came to, if it came to one.

    Keyed by process and sequence, never by task id, which repeats. `outcome` is how
    the run ended, `final` the task's outcome where a signal says it. `finished_extra`
    is what `finished` says, while it waits to be one record with `ended`. Defaults are
    attributes of the class: most attempts need not set them.
    """

    # Unix seconds, and seconds.
    started: float | None = None
    duration: float | None = None
    stopped = 0.0
    outcome: str | None = None
    final: str | None = None
    raised: BaseException | None = None
    # The exception that was handled when the function was called.
    outer_error: BaseException | None = None
    # A record of its start, or of its dequeue, is on its way.
    announced = False
    dequeued = False
    # Another process or the relay reports its end.
    disowned = False
    # An exception left huey's execute.
    escaped = False
    # The task is back on queue or schedule.
    moved = False
    retrying = False
    # The function runs; it has returned; and its result is stored.
    in_body = False
    returned = False
    stored = False
    # It runs inside of an enqueue (immediate mode), or was popped by another thread.
    nested = False
    finished_extra: dict[str, Any] | None = None
    wait: float | None = None
    span: Span | None = None
    sampled = False
    # It does not record, or has ended.
    span_is_over = False
    # The span, if the main process makes it again, and what that must know of it.
    held: Any = None
    owed: tuple[Any, ...] | None = None
    # A record of it did not fit, and the main process does not know what that said.
    summed_up = False
    before: Context | None = None

    def __init__(
        self,
        source: int,
        task: Task,
        facts: TaskFacts,
        carrier: Carrier | None,
        worker: str | None,
    ) -> None:
        self.key = next(_keys)
        self.source = source
        self.task = task
        self.facts = facts
        self.facts_tuple: tuple[Any, ...] = tuple(facts)
        self.carrier = carrier
        self.worker = worker
        retries = task.retries
        self.retries = retries if type(retries) is int else encodable.number(retries)
        self.hops = 0 if carrier is None else carrier.hops
        # What `end` sets. The worker's thread may end the run, and huey's main
        # thread, which interrupts it: the first one to store something here wins.
        self._end: dict[None, tuple[str | None, float | None, float]] = {}
        unfinished[self.key] = self
        self._began = 0.0

    def start(self) -> None:
        """Begin the run; note the seconds it waited since it was due, if known."""
        self._began = time.monotonic()
        self.started = started = time.time()
        if self.task.retries is not self.retries:
            # A hook has changed them.
            self.retries = encodable.number(self.task.retries)
        carrier = self.carrier
        if carrier is not None:
            due, eta = carrier.enqueued, carrier.eta
            if eta is not None and eta > due:
                due = eta
            self.wait = started - due if started > due else 0.0

    def within(self, trace_id: int, span_id: int) -> None:
        """Note the ids of the run's span, which is sampled."""
        self.sampled = True
        self.facts_tuple = (*self.facts[:6], trace_id, span_id)

    def end(self, outcome: str) -> bool:
        """End the run; False if it was over, or never began."""
        if self.started is None:
            return False
        seconds = time.monotonic() - self._began
        mine = (outcome, seconds, self.started + seconds)
        first = self._end.setdefault(None, mine)
        self.outcome, self.duration, self.stopped = first
        return first is mine

    def close(self) -> bool:
        """Close the attempt; False if it was closed before."""
        return unfinished.pop(self.key, None) is not None

    def disown(self) -> None:
        """Report nothing more: the parent process or the relay says how it ended."""
        self.disowned = True
        self._end.setdefault(None, (self.outcome, self.duration, self.stopped))
        unfinished.pop(self.key, None)

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
        if self.moved:
            return None
        if self.outcome == n.OUTCOME_SUCCESS:
            return n.OUTCOME_SUCCESS if self.stored else n.OUTCOME_FAILURE
        if self.outcome == n.OUTCOME_INTERRUPTED:
            return n.OUTCOME_INTERRUPTED
        if self.escaped or self.outcome in (n.OUTCOME_ERROR, n.OUTCOME_RETRY_REQUESTED):
            return n.OUTCOME_FAILURE
        return self.outcome


unfinished: Final[dict[int, Attempt]] = {}
"""The attempts of all threads that are not closed, by key."""

running: Final[dict[int, Attempt]] = {}
"""The started attempts of all threads, by the id of the Task."""


def disown_all() -> None:
    """Report nothing more of any attempt of this process."""
    for attempt in list(unfinished.values()):
        attempt.disown()
    running.clear()
