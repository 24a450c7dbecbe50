"""Tracing: one span for each enqueue, one for each attempt, current meanwhile."""

import time
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, TraceFlags

from huey_otel import _names as n
from huey_otel._options.settings import Settings
from huey_otel._otel.provider import LazyTracer
from huey_otel._safety import encodable, failures
from huey_otel._safety.guard import guarded
from huey_otel._tasks.attempt import Attempt
from huey_otel._tasks.attributes import Operation, attributes_of, message_of, record
from huey_otel._tasks.context import Current, Outgoing
from huey_otel._tasks.propagation import Propagation, headers_of
from huey_otel._wire.span import start_of

_SAMPLED: Final = int(TraceFlags.SAMPLED)


class Tracing:
    """Starts and ends the spans of one instrumented huey."""

    def __init__(self, queue: str, settings: Settings, tracer: LazyTracer) -> None:
        naming = settings.span_naming
        self._tracebacks = settings.tracebacks
        self.propagation = Propagation(settings)
        self._tracer = tracer
        self._enqueueing = Operation(n.ENQUEUE, n.TYPE_SEND, queue, naming)
        self._processing = Operation(n.PROCESS, n.TYPE_PROCESS, queue, naming)
        self.ready = False

    @guarded
    def prepare(self) -> None:
        """Do what is slow the first time, before a time is taken."""
        if _is_suppressed(contexts.get_current()):
            return
        self.ready = True
        self._tracer.resolved()
        self.propagation.prepare()

    @guarded
    def enqueue(self, outgoing: Outgoing, within: Context | None = None) -> None:
        """Start the span of an enqueue, make it current, and send it along.

        Its parent is the current span, or that of *within*.
        """
        before = contexts.get_current()
        if before and _is_suppressed(before):
            return
        provider = self._tracer.ready or self._tracer.resolved()
        if not before and within is None and provider.silent:
            return
        facts, task = outgoing.facts, outgoing.task
        name, known = self._enqueueing.of(facts.name)
        span = provider.tracer.start_span(
            name,
            context=within,
            kind=SpanKind.PRODUCER,
            attributes=attributes_of(known, task, facts, task.retries),
        )
        outgoing.span = span
        context = _within(span, within or before)
        headers = headers_of(context)
        # Not before: samplers and propagators may be slow.
        outgoing.carrier = outgoing.carrier.carrying(headers, time.time())
        outgoing.before = before
        contexts.attach(context)

    @guarded
    def batch(self, kind: str, count: int) -> Current | None:
        """Start a span for all enqueues of a group or chord, if no span is current."""
        before = contexts.get_current()
        if (
            _is_suppressed(before)
            or trace.get_current_span(before).get_span_context().is_valid
        ):
            return None
        span = self._tracer.resolved().tracer.start_span(
            self._enqueueing.named(encodable.name(kind)),
            kind=SpanKind.CLIENT,
            attributes=self._enqueueing.attributes | {n.MESSAGING_BATCH_COUNT: count},
        )
        current = Current(span=span, before=before)
        contexts.attach(trace.set_span_in_context(span))
        return current

    @guarded
    def enqueued(self, current: Current) -> None:
        """End the span of an enqueue, and put back the context before it."""
        _put_back(current)
        span, error = current.span, current.error
        if span is None:
            return
        if error is not None and span.is_recording():
            message = text = None
            if self._tracebacks:
                message, text = message_of(error), failures.text(error)
            record(span, failures.class_name(error), message, text)
        span.end()

    @guarded
    def start(self, attempt: Attempt, wait: float | None) -> tuple[Any, ...] | None:
        """Start the span of *attempt*, and make it current until `leave`.

        Returns what a lost span needs beside the record, None if it is not sampled.
        """
        before = contexts.get_current()
        carrier = attempt.carrier
        if (before and _is_suppressed(before)) or (
            not (before or (carrier and carrier.headers))
            and (self._tracer.ready or self._tracer.resolved()).silent
        ):
            attempt.hops = 0
            return None
        span, context, links = self._start(attempt, n.TASK_WAIT, wait)
        attempt.span = span
        attempt.before = before
        contexts.attach(context)
        if attempt.facts.span_id is None:
            return None
        return start_of(span.get_span_context(), links, attempt.task.priority)

    @guarded
    def short(self, attempt: Attempt, outcome: str) -> None:
        """Make a short span that says why the task was not run."""
        if _is_suppressed(contexts.get_current()):
            return
        attempt.span, _, _ = self._start(attempt, n.TASK_OUTCOME, outcome)
        attempt.span.end()

    def _start(
        self, attempt: Attempt, key: str, value: float | str | None
    ) -> tuple[Span, Context, list[Link]]:
        """A span for *attempt*, the context in which it is current, and its links."""
        parent, above, links = self.propagation.parent(attempt)
        facts, carrier, began = attempt.facts, attempt.carrier, attempt.started
        name, known = self._processing.of(facts.name)
        attributes = attributes_of(known, attempt.task, facts, attempt.retries)
        if value is not None:
            attributes[key] = value
        if attempt.worker is not None:
            attributes[n.WORKER_NAME] = attempt.worker
        if carrier is not None and carrier.chord_size:
            attributes[n.CHORD_SIZE] = carrier.chord_size
        provider = self._tracer.ready or self._tracer.resolved()
        span = provider.tracer.start_span(
            name,
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            start_time=None if began is None else int(began * 1e9),
        )
        if not above.is_valid:
            # The attempt begins a trace, and hops count within one.
            attempt.hops = 0
        ids = span.get_span_context()
        if not ids.is_valid:
            # Without a provider: that of opentelemetry-api 1.30 hides its parent.
            return span, parent, links
        if ids.trace_flags & _SAMPLED:
            attempt.within(
                f"{ids.trace_id:032x}",
                f"{ids.span_id:016x}",
                f"{above.span_id:016x}" if above.is_valid else None,
            )
        return span, trace.set_span_in_context(span, parent), links

    @guarded
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
        its end.
        """
        span = attempt.span
        if span is None:
            return
        end = int(attempt.stopped * 1e9)
        if span.is_recording():
            span.set_attribute(n.TASK_OUTCOME, attempt.outcome or "")
            if failure is not None:
                name = failure.get("exception") or n.OUTCOME_ERROR
                message = message_of(error) if self._tracebacks else None
                record(span, name, message, failure.get("traceback"), end)
        if not open_until_left:
            span.end(end)

    @guarded
    def leave(self, attempt: Attempt) -> None:
        """Put back the context before `start`; called on the attempt's thread."""
        _put_back(attempt)
        span, attempt.span = attempt.span, None
        if span is not None and span.is_recording():
            # It was left open, or an interrupt kept it from being ended.
            span.end()


def _is_suppressed(context: Context) -> bool:
    """Whether `suppress_instrumentation()` has made *context*: no spans then.

    As opentelemetry-instrumentation 0.66b0 marks it; half the time of `get_value`.
    """
    return bool(context and context.get(n.SUPPRESS_INSTRUMENTATION))


def _within(span: Span, context: Context) -> Context:
    """*context* with *span* as the current one."""
    if not span.get_span_context().is_valid:
        # Without a provider: that of opentelemetry-api 1.30 hides its parent.
        return context
    return trace.set_span_in_context(span, context)


def _put_back(thing: Attempt | Current) -> None:
    """Put back the context before *thing*'s span.

    Not by `detach`, which a task's timeout may cut; it swallows that, and leaves the
    context as it is (opentelemetry-api 1.45).
    """
    if thing.before is not None:
        contexts.attach(thing.before)
        thing.before = None
