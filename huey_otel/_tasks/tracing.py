"""Tracing: one span for each enqueue, one for each attempt, current meanwhile."""

import time
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanKind, TraceFlags

from huey_otel import _names as n
from huey_otel._options.settings import Settings
from huey_otel._otel.attributes import Operation, conclude, message_of
from huey_otel._otel.current import current, make_current, span_in, with_span
from huey_otel._otel.spans import IS_VALID, close, with_parent
from huey_otel._process.outputs import Outputs
from huey_otel._relay.relay import Relay
from huey_otel._safety import failures
from huey_otel._safety.encodable import number
from huey_otel._safety.forks import in_child
from huey_otel._safety.guard import absorb, guarded, guards_itself
from huey_otel._tasks.attempt import Attempt
from huey_otel._tasks.context import Current, Outgoing
from huey_otel._tasks.propagation import Propagation, propagated
from huey_otel._wire.span import SpanStart, packed, packed_links

_SAMPLED: Final = int(TraceFlags.SAMPLED)


class Tracing:
    """Starts and ends the spans of one instrumented huey."""

    def __init__(self, settings: Settings, outputs: Outputs, relay: Relay) -> None:
        queue, naming = outputs.route.source.queue, settings.span_naming
        self._tracebacks = settings.tracebacks
        self.propagation = Propagation(settings)
        self._tracer = outputs.tracer
        self._relay = relay
        self._enqueueing = Operation(n.ENQUEUE, n.TYPE_SEND, queue, naming)
        self._processing = outputs.attempts
        self._conclude = outputs.conclude
        self.ready = False
        self._forget()
        in_child(self._forget)

    def _forget(self) -> None:
        # The resource of this process that the main process knows.
        self._told: object = None

    @guarded
    def prepare(self) -> None:
        """Do what is slow the first time, before a time is taken."""
        if _is_suppressed(current()):
            return
        self.ready = True
        self._tracer.resolved()
        self.propagation.prepare()

    @guards_itself
    def enqueue(self, outgoing: Outgoing, within: Context | None = None) -> None:
        """Start the span of an enqueue, make it current, and send it along.

        Its parent is the current span, or that of *within*.
        """
        try:
            before = current()
            if before and _is_suppressed(before):
                return
            provider = self._tracer.ready or self._tracer.resolved()
            if (
                provider.may_be_silent
                and not before
                and within is None
                and provider.silent
            ):
                return
            task, context = outgoing.task, within or before
            retries, priority = task.retries, task.priority
            span, ids = provider.spans.start(
                self._enqueueing.described,
                (
                    outgoing.facts,
                    retries if type(retries) is int else number(retries),
                    None if priority is None else number(priority),
                ),
                SpanKind.PRODUCER,
                span_in(context).get_span_context() if context else None,
                within,
            )
            outgoing.span = span
            # Without a provider: that of opentelemetry-api 1.30 hides its parent.
            if ids[IS_VALID]:
                context = with_span(span, context)
            parent, headers = propagated(context, ids)
            # The time not before: samplers and propagators may be slow.
            outgoing.carrier = outgoing.carrier.carrying(parent, headers, time.time())
            outgoing.before = before
            make_current(context)
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.enqueue)

    @guarded
    def batch(self, kind: str, count: int) -> Current | None:
        """Start a span for all enqueues of a group or chord, if no span is current."""
        before = current()
        if _is_suppressed(before) or span_in(before).get_span_context().is_valid:
            return None
        span, _ = self._tracer.resolved().spans.start(
            *(self._enqueueing.batch, (kind, count), SpanKind.CLIENT, None, None)
        )
        make_current(with_span(span, before))
        return Current(span, before)

    @guards_itself
    def enqueued(self, current: Current) -> None:
        """End the span of an enqueue, and put back the context before it."""
        try:
            before, current.before = current.before, None
            if before is not None:
                make_current(before)
            span, error = current.span, current.error
            if span is None or type(span) is NonRecordingSpan:
                return
            now = time.time_ns()
            if error is None:
                close(span, now)
                return
            message = text = None
            if self._tracebacks:
                message, text = message_of(error), failures.text(error)
            failure = failures.class_name(error), message, text
            close(span, now, conclude, None, failure, now)
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.enqueued)

    @guards_itself
    def start(self, attempt: Attempt, wait: float | None) -> tuple[Any, ...] | None:
        """Start the span of *attempt*, and make it current until `leave`.

        Returns what the relay needs to make it, or to end it, should this worker not.
        """
        try:
            before = current()
            carrier = attempt.carrier
            if (before and _is_suppressed(before)) or (
                not (before or (carrier and (carrier.parent or carrier.headers)))
                and (self._tracer.ready or self._tracer.resolved()).silent
            ):
                attempt.hops = 0
                return None
            span, context, start = self._start(attempt, wait, None)
            attempt.span = span
            attempt.span_is_over = type(span) is NonRecordingSpan
            attempt.before = before
            make_current(context)
            if not attempt.sampled:
                return None
            reader = self._relay.reader if self._relay.forked else None
            return (span,) if reader is None else self._packed(attempt, start, reader)
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.start)
            return None

    def _packed(
        self, attempt: Attempt, start: tuple[Any, ...], reader: int
    ) -> tuple[Any, ...]:
        """The start of the span of *attempt*, for the process *reader*."""
        above, values, links, began = start
        span: Any = attempt.span
        light: Any = self._tracer.resolved().spans
        given = resource = None
        crosses = light.lets_cross(span, reader)
        if crosses:
            attempt.held = span
            given = span.hold_back()
            if light.resource is not self._told:
                own = light.resource
                resource = dict(own.attributes), own.schema_url
        return tuple(
            SpanStart(
                crosses,
                packed(span.get_span_context()),
                None if above is None else packed(above),
                began,
                values[1:],
                packed_links(links),
                given,
                resource,
            )
        )

    @guarded
    def hand_over(self, attempt: Attempt) -> tuple[Any, ...] | None:
        """What the span of *attempt*, which was held back, ends with; it is closed.

        None where it cannot cross: the processors of this process have it then.
        """
        span, attempt.held = attempt.held, None
        from huey_otel._otel.crossing import end_of

        close(span, time.time_ns())
        light: Any = self._tracer.resolved().spans
        if attempt.announced and not attempt.summed_up and not self._relay.behind:
            end = end_of(span)
            if end is not None and self._relay.reader is not None:
                self._told = light.resource
                return end
        light.deliver(span)
        return None

    @guarded
    def short(self, attempt: Attempt, outcome: str) -> None:
        """Make a short span that says why the task was not run."""
        if _is_suppressed(current()):
            return
        attempt.span, _, _ = self._start(attempt, None, outcome)
        close(attempt.span, time.time_ns())
        attempt.span_is_over = True

    def _start(
        self, attempt: Attempt, wait: float | None, outcome: str | None
    ) -> tuple[Span, Context, tuple[Any, ...]]:
        """A span for *attempt*, the context in which it is current, and its start."""
        context, above, links = self.propagation.parent(attempt)
        carrier, began = attempt.carrier, attempt.started
        priority = attempt.task.priority
        facts, chord_size = attempt.facts, None
        if priority is not None:
            priority = number(priority)
        if carrier is not None and carrier.chord_size:
            chord_size = carrier.chord_size
        values = (
            facts,
            attempt.retries,
            priority,
            wait,
            outcome,
            attempt.worker,
            chord_size,
        )
        start = None if began is None else int(began * 1e9)
        span, ids = (self._tracer.ready or self._tracer.resolved()).spans.start(
            self._processing.described,
            values,
            SpanKind.CONSUMER,
            above,
            context,
            links,
            start,
        )
        parts = above, values, links, start
        if above is None:
            # The attempt begins a trace, and hops count within one.
            attempt.hops = 0
        trace_id, span_id, _, flags, _, is_valid = ids
        if not is_valid:
            # Without a provider: that of opentelemetry-api 1.30 hides its parent.
            return span, with_parent(above, context) or context, parts
        if flags & _SAMPLED:
            attempt.within(trace_id, span_id)
        return span, with_span(span, context), parts

    @guards_itself
    def end(
        self,
        attempt: Attempt,
        failure: Mapping[str, Any] | None,
        error: BaseException | None,
        *,
        open_until_left: bool = False,
    ) -> None:
        """End the span of *attempt* with its outcome; it stays current.

        With *open_until_left*, `leave` ends it, so that no span inside it begins after
        its end. `attempt.owed` is what the relay must know to make it until then.
        """
        try:
            span = attempt.span
            if span is None or attempt.span_is_over:
                return
            at, failed, message = int(attempt.stopped * 1e9), None, None
            if failure is not None:
                name = failure.get("exception") or n.OUTCOME_ERROR
                message = message_of(error) if self._tracebacks else None
                failed = name, message, failure.get("traceback")
            end = None if open_until_left else at
            close(span, end, self._conclude, attempt.outcome or "", failed, at)
            if attempt.held is not None or (open_until_left and attempt.sampled):
                attempt.owed = () if failed is None else (message,)
            attempt.span_is_over = not open_until_left
        except Exception as raised:  # noqa: BLE001 - as a guard
            absorb(raised, self.end)

    @guards_itself
    def leave(self, attempt: Attempt) -> None:
        """Put back the context before `start`; called on the attempt's thread."""
        try:
            before, attempt.before = attempt.before, None
            if before is not None:
                make_current(before)
            span, attempt.span = attempt.span, None
            if span is None or attempt.span_is_over:
                return
            if span.is_recording():
                # It was left open, or an interrupt kept it from being ended.
                close(span, time.time_ns())
        except Exception as error:  # noqa: BLE001 - as a guard
            absorb(error, self.leave)


def _is_suppressed(context: Context) -> bool:
    """Whether `suppress_instrumentation()` has made *context*: no spans then.

    As opentelemetry-instrumentation 0.66b0 marks it; half the time of `get_value`.
    """
    return bool(context and context.get(n.SUPPRESS_INSTRUMENTATION))
