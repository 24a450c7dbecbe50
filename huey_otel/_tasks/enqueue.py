"""Enqueue: where a message comes from, its span, and the carrier that it gets."""

import time
from typing import Any, Final

from huey.api import Task
from opentelemetry.context import Context

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel._otel.current import current, span_in
from huey_otel._safety.guard import absorb, guarded, guards_itself
from huey_otel._safety.log import warn
from huey_otel._safety.timeout import OVERDUE, or_else, raise_what_is_overdue
from huey_otel._tasks.attempt import Attempt, running
from huey_otel._tasks.context import HERE, Chord, Current, Doing, Outgoing
from huey_otel._tasks.dequeue import read_carrier
from huey_otel._tasks.execute import Execution
from huey_otel._tasks.propagation import came_from, named, propagated, some
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.signs import LOOKED
from huey_otel._tasks.tracing import Tracing
from huey_otel._wire.carrier import Carrier, carrier_of, encode

_NO_HEADERS: Final[dict[str, str]] = {}


class Enqueue:
    """Records each message that goes to the queue or the schedule."""

    def __init__(
        self, recorder: Recorder, tracing: Tracing, execution: Execution
    ) -> None:
        self._recorder = recorder
        self._tracing = tracing
        self._execution = execution
        self._warned = False

    @guards_itself
    def begins(self, here: Doing, task: Task) -> None:
        """Before huey's enqueue: find the origin of *task*, start its span, tell both.

        What is usual is new work that a call enqueues; `_unusual` knows the rest.
        """
        try:
            if not self._tracing.ready:
                self._tracing.prepare()
            attempts = here.attempts
            if (attempts and not attempts[-1].in_body) or (
                here.ripe or here.due or here.requeued is not None
            ):
                here.outgoing = outgoing = self._unusual(here, task)
            else:
                here.outgoing = outgoing = self._new(here, task, n.ORIGIN_CALL)
                self._tracing.enqueue(outgoing)
            recorder = self._recorder
            if recorder.settings.semconv_metrics:
                outgoing.began = time.monotonic()
            outgoing.trailer = encode(outgoing.carrier)
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.begins)
        if OVERDUE:
            raise_what_is_overdue()

    def _new(self, here: Doing, task: Task, origin: str) -> Outgoing:
        eta = None if task.eta is None else self._recorder.eta(task)
        if here.attempts:
            hops = here.attempts[-1].hops + 1
        else:
            hops = _hops_of_others() if running else 0
        carrier = carrier_of(
            (time.time(), eta, 1, None, _NO_HEADERS, None, hops, (), 0)
        )
        return Outgoing(task, self._recorder.facts(task, 1), carrier, origin)

    def _unusual(self, here: Doing, task: Task) -> Outgoing:
        """Work that is put back, periodic, or enqueued by huey after another task."""
        ripe = here.ripe.pop(id(task), None)
        if ripe is not None:
            here.signs[LOOKED] = time.monotonic()
            return self._ripe(task, ripe)
        if here.due.pop(id(task), None) is task:
            here.signs[LOOKED] = time.monotonic()
            outgoing = self._new(here, task, n.ORIGIN_PERIODIC)
            self._recorder.say(
                e.EVENT_SCHEDULING_PERIODIC, facts=outgoing.facts, retries=task.retries
            )
            return outgoing
        in_body = bool(here.attempts) and here.attempts[-1].in_body
        if not in_body and _is_same(task, here.requeued):
            return self._of(task, self._next(here, task), n.ORIGIN_RETRY)
        chord, here.chord = here.chord, None
        within = None
        if chord is not None:
            outgoing = self._new(here, task, n.ORIGIN_PIPELINE)
            within = self._callback(here, outgoing, chord)
        elif here.attempts and _follows(task, here.attempts[-1].task):
            outgoing = self._new(here, task, n.ORIGIN_PIPELINE)
        else:
            outgoing = self._new(here, task, n.ORIGIN_CALL)
        self._tracing.enqueue(outgoing, within)
        if outgoing.origin == n.ORIGIN_PIPELINE and chord is None and _in_chord(task):
            self._follow_chord(outgoing, here.attempts[-1])
        return outgoing

    def _of(self, task: Task, carrier: Carrier, origin: str) -> Outgoing:
        facts = self._recorder.facts(task, carrier.attempt)
        return Outgoing(task, facts, carrier, origin)

    @guarded
    def signaled(self, here: Doing, task: Task) -> None:
        """Huey sends SIGNAL_ENQUEUED, right before the storage takes *task*."""
        outgoing = here.outgoing
        if outgoing is None or outgoing.task is not task:
            return
        extra: dict[str, object] = {"origin": outgoing.origin}
        if outgoing.late is not None:
            extra["late"] = outgoing.late
        self._recorder.say(
            e.EVENT_ENQUEUED, facts=outgoing.facts, retries=task.retries, extra=extra
        )

    @guarded
    def raised(self, here: Doing, task: Task, error: BaseException) -> None:
        """Huey's enqueue of *task* raised *error*."""
        outgoing = here.outgoing_of(task)
        if outgoing is not None:
            outgoing.error = error

    @guards_itself
    def ends(self, here: Doing, outgoing: Outgoing, *, immediate: bool) -> None:
        """After huey's enqueue, also if it raised, and the hook has called `raised`."""
        try:
            if outgoing.ran or (outgoing.error is None and not immediate):
                # In immediate mode no storage takes it.
                self._recorder.accepted(here, outgoing)
            if immediate:
                # It is the run that raised, inside of the enqueue.
                outgoing.error = None
            if outgoing.error is not None:
                self._failed(outgoing, outgoing.error)
            else:
                if outgoing.ripe is not None:
                    outgoing.ripe.moved = True
                    self._recorder.close(outgoing.ripe)
                if here.popped is not None:
                    self._execution.put_back(here, outgoing.task)
            if outgoing.before is not None:
                self._tracing.enqueued(outgoing)
            if outgoing.began:
                self._recorder.sent(outgoing)
            outgoing.error = None
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.ends)
        if OVERDUE:
            raise_what_is_overdue()

    def _failed(self, outgoing: Outgoing, error: BaseException) -> None:
        """Huey's enqueue raised *error*; only huey's own enqueues are an event."""
        if outgoing.origin != n.ORIGIN_CALL and isinstance(error, Exception):
            self._execution.failed(e.EVENT_ERROR_ENQUEUEING, error, outgoing)
        if outgoing.ripe is not None:
            outgoing.ripe.escaped = True
            self._recorder.close(outgoing.ripe)

    def _callback(
        self, here: Doing, outgoing: Outgoing, chord: Chord
    ) -> Context | None:
        """Link a chord's callback to the members; the context of the chord's trace."""
        read = [read_carrier(result) for result in chord.read]
        members = [one.previous for one in read if one and one.previous is not None]
        carrier = outgoing.carrier._replace(
            members=some(members), chord_size=chord.size
        )
        member = here.attempts[-1]
        within = self._tracing.propagation.of_chord(member)
        if within is not None and member.carrier is not None:
            carrier = carrier._replace(hops=member.carrier.hops + 1)
        outgoing.carrier = carrier
        return within

    def _follow_chord(self, outgoing: Outgoing, member: Attempt) -> None:
        """Send the trace of the chord along, if *member* was in another one."""
        within = self._tracing.propagation.of_chord(member)
        origin = within and named(span_in(within))
        if origin:
            outgoing.carrier = came_from(origin, outgoing.carrier)

    @guarded
    def member_done(self, chord: Any) -> None:
        """Before huey stores a member's result, and reads all of them after the last.

        The span of a member is stored behind its result. huey 3.2 passes the member's
        task in place of the *chord*.
        """
        chord = getattr(chord, "chord_config", chord)
        here = HERE.local.doing
        span = named(here.attempts[-1].span) if here.attempts else None
        done = span and encode(Carrier(enqueued=time.time(), previous=span))
        here.chord = Chord(chord.size, done or None) if here.attempts else None

    def _ripe(self, task: Task, ripe: Attempt) -> Outgoing:
        """The scheduler moves a ripe task, which keeps its carrier."""
        eta, now = self._recorder.eta(task), time.time()
        carrier = ripe.carrier or Carrier(enqueued=now, eta=eta)
        outgoing = self._of(task, carrier, n.ORIGIN_SCHEDULED)
        outgoing.ripe = ripe
        outgoing.late = None if eta is None else max(0.0, now - eta)
        return outgoing

    def _next(self, here: Doing, task: Task) -> Carrier:
        """The carrier of the attempt after the current one; its headers stay."""
        attempt = here.attempt_of(task)
        eta, now = self._recorder.eta(task), time.time()
        if attempt is None:
            return Carrier(enqueued=now, eta=eta)
        following = (attempt.carrier or Carrier(enqueued=now))._replace(
            enqueued=now,
            eta=eta,
            attempt=attempt.facts.attempt + 1,
            previous=named(attempt.span),
            # A task that polls by RetryTask has no last attempt.
            hops=attempt.hops + 1,
            members=(),
        )
        following = self._tracing.propagation.of_retry(attempt, following)
        return following._replace(enqueued=time.time())

    @guarded
    def batch_begins(self, batch: Any) -> Current | None:
        """Before huey's enqueue of a group or chord."""
        members = getattr(batch, "tasks", ())
        return self._tracing.batch(type(batch).__name__, len(members))

    @guarded
    def batch_ends(self, current: Current | None) -> None:
        """After that enqueue, also if it raised."""
        if current is not None:
            self._tracing.enqueued(current)

    @guarded
    def enveloped(self, data: Any, trailer: bytes) -> bytes | None:
        """*data* with *trailer* behind it, with `envelope=`; None without.

        For a serializer that is not pickle's, and so does not write the trailer.
        """
        if self._recorder.settings.envelope and type(data) is bytes:
            return data + trailer
        if not self._warned:
            self._warned = True
            huey = self._recorder.huey
            warn(
                "queue %s: messages of %s carry no context, so attempts begin traces"
                " of their own; envelope=True (HUEY_OTEL_ENVELOPE=1) adds it, once all"
                " programs on this queue are instrumented",
                huey.name,
                type(huey.serializer).__qualname__,
            )
        return None

    @guarded
    def scheduling(self, here: Doing, task: Task) -> None:
        """Before huey's add_schedule, whose write may be read before it returns."""
        attempt = here.attempt_of(task)
        in_body = attempt is not None and attempt.in_body
        if not in_body and _is_same(task, here.requeued):
            carrier, origin = self._next(here, task), n.ORIGIN_RETRY
        elif attempt is not None and not in_body and attempt.carrier is not None:
            carrier, origin = attempt.carrier, n.ORIGIN_PIPELINE
        else:
            # The application calls add_schedule itself: no enqueue has made a carrier.
            parent, headers = propagated(current())
            known, origin = self._new(here, task, n.ORIGIN_CALL), n.ORIGIN_CALL
            carrier = known.carrier._replace(parent=parent, headers=headers)
        here.outgoing = outgoing = self._of(task, carrier, origin)
        if attempt is not None:
            # huey has raised it already to what the next retry waits (backoff).
            outgoing.facts = outgoing.facts._replace(
                retry_delay=attempt.facts.retry_delay
            )
        self._recorder.say(
            e.EVENT_SCHEDULED, facts=outgoing.facts, retries=task.retries
        )
        outgoing.trailer = encode(carrier)


def _hops_of_others() -> int:
    """The hops of an enqueue by a thread to which an attempt passed its context."""
    ids = span_in(current()).get_span_context()
    if not ids.is_valid:
        return 0
    return max(
        (
            attempt.hops + 1
            for attempt in list(running.values())
            if attempt.span is not None
            and attempt.span.get_span_context().trace_id == ids.trace_id
        ),
        default=0,
    )


def _in_chord(task: Task | None) -> bool:
    """Whether *task*, or the end of the pipeline it begins, is a member of a chord."""
    while task is not None:
        if getattr(task, "chord_config", None) is not None:
            return True
        task = task.on_complete
    return False


def _follows(task: Task, done: Task) -> bool:
    """Whether huey enqueues *task* because of the end of *done*.

    huey 3 enqueues a copy of the error handler, huey 2 that itself.
    """
    return task is done.on_complete or _is_same(task, done.on_error)


def _is_same(task: Task, known: Task | None) -> bool:
    """Whether *task* is *known* or a copy of it; an id of any class may raise."""
    if known is None or type(task) is not type(known):
        return False
    return task is known or or_else(lambda: bool(task.id == known.id), lambda _: False)
