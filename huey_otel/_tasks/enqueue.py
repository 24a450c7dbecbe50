"""Enqueue: where a message comes from, its span, and the carrier that it gets."""

import time
from typing import Any

from huey.api import Task
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import warn
from huey_otel._tasks.attempt import Attempt, running
from huey_otel._tasks.context import HERE, Chord, Current, Doing, Outgoing
from huey_otel._tasks.propagation import headers_of, named, some
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.tracing import Tracing
from huey_otel._wire.carrier import Carrier, encode


class Enqueue:
    """Records each message that goes to the queue or the schedule."""

    def __init__(self, recorder: Recorder, tracing: Tracing) -> None:
        self._recorder = recorder
        self._tracing = tracing
        self._warned = False

    @guarded
    def begins(self, task: Task) -> None:
        """Before huey's enqueue: find the origin and the carrier of *task*."""
        here = HERE.local.doing
        if not self._tracing.ready:
            self._tracing.prepare()
        now = time.time()
        chord, here.chord = here.chord, None
        ripe = here.ripe.pop(id(task), None) if here.ripe else None
        if ripe is not None:
            here.outgoing = self._ripe(task, ripe, now)
        elif here.due and here.due.pop(id(task), None) is task:
            carrier = self._new(here, task, now)
            here.outgoing = outgoing = self._of(task, carrier, n.ORIGIN_PERIODIC)
            self._recorder.say(
                e.EVENT_SCHEDULING_PERIODIC, facts=outgoing.facts, retries=task.retries
            )
        elif here.caller == n.ORIGIN_RETRY:
            here.outgoing = self._of(task, self._next(task, now), n.ORIGIN_RETRY)
        else:
            carrier = self._new(here, task, now)
            here.outgoing = outgoing = self._of(task, carrier, here.caller)
            within = None if chord is None else self._callback(here, outgoing, chord)
            self._tracing.enqueue(outgoing, within)
            if here.caller == n.ORIGIN_PIPELINE and chord is None and _in_chord(task):
                self._follow_chord(outgoing, here.attempts[-1])

    def _of(self, task: Task, carrier: Carrier, origin: str) -> Outgoing:
        facts = self._recorder.facts(task, carrier.attempt)
        return Outgoing(task, facts, carrier, origin)

    def _callback(
        self, here: Doing, outgoing: Outgoing, chord: Chord
    ) -> Context | None:
        """Link a chord's callback to the members; the context of the chord's trace."""
        carrier = outgoing.carrier._replace(
            members=some(chord.members), chord_size=chord.size
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
        origin = within and named(trace.get_current_span(within))
        if origin:
            carrier = outgoing.carrier
            headers = {**carrier.headers, n.ORIGIN_HEADER: origin}
            outgoing.carrier = carrier.carrying(headers, carrier.enqueued)

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

    def _ripe(self, task: Task, ripe: Attempt, now: float) -> Outgoing:
        """The scheduler moves a ripe task, which keeps its carrier."""
        eta = self._recorder.eta(task)
        carrier = ripe.carrier or Carrier(enqueued=now, eta=eta)
        outgoing = self._of(task, carrier, n.ORIGIN_SCHEDULED)
        outgoing.ripe = ripe
        outgoing.late = None if eta is None else max(0.0, now - eta)
        return outgoing

    def _new(self, here: Doing, task: Task, now: float) -> Carrier:
        eta = None if task.eta is None else self._recorder.eta(task)
        if here.attempts:
            return Carrier(now, eta, hops=here.attempts[-1].hops + 1)
        return Carrier(now, eta, hops=_hops_of_others() if running else 0)

    def _next(self, task: Task, now: float) -> Carrier:
        """The carrier of the attempt after the current one; its headers stay."""
        attempt = HERE.local.doing.attempt_of(task)
        eta = self._recorder.eta(task)
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
        headers = self._tracing.propagation.headers_of_retry(attempt, following)
        return following.carrying(headers, time.time())

    @guarded
    def ends(self, outgoing: Outgoing | None) -> None:
        """After huey's enqueue, also if it raised."""
        if outgoing is not None:
            self._tracing.enqueued(outgoing)
            self._recorder.sent(outgoing)

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
    def signaled(self, task: Task) -> None:
        """Huey sends SIGNAL_ENQUEUED, right before the storage takes *task*."""
        outgoing = HERE.local.doing.outgoing_of(task)
        if outgoing is None:
            return
        if self._recorder.huey.immediate:
            # No storage takes it: it runs before enqueue returns.
            self._recorder.accepted(outgoing)
        if not self._recorder.settings.publish_enqueued:
            return
        extra: dict[str, object] = {"origin": outgoing.origin}
        if outgoing.late is not None:
            extra["late"] = outgoing.late
        self._recorder.say(
            e.EVENT_ENQUEUED, facts=outgoing.facts, retries=task.retries, extra=extra
        )

    @guarded
    def trailer(self, task: Task) -> bytes | None:
        """The carrier of *task* in bytes, if *task* goes out now."""
        outgoing = HERE.local.doing.outgoing_of(task)
        return None if outgoing is None else encode(outgoing.carrier)

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
    def scheduling(self, task: Task) -> None:
        """Before huey's add_schedule, whose write may be read before it returns."""
        here = HERE.local.doing
        attempt = here.attempt_of(task)
        if here.caller == n.ORIGIN_RETRY:
            carrier = self._next(task, time.time())
        elif attempt is not None and attempt.carrier is not None:
            carrier = attempt.carrier
        else:
            # The application calls add_schedule itself: no enqueue has made a carrier.
            headers = headers_of(contexts.get_current())
            now = time.time()
            carrier = self._new(here, task, now).carrying(headers, now)
        here.outgoing = outgoing = self._of(task, carrier, here.caller)
        if attempt is not None:
            # huey has raised it already to what the next retry waits (backoff).
            outgoing.facts = outgoing.facts._replace(
                retry_delay=attempt.facts.retry_delay
            )
        self._recorder.say(
            e.EVENT_SCHEDULED, facts=outgoing.facts, retries=task.retries
        )


def _hops_of_others() -> int:
    """The hops of an enqueue by a thread to which an attempt passed its context."""
    ids = trace.get_current_span().get_span_context()
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
