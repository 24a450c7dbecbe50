"""Spans: one for each enqueue, one for each attempt, joined by what the carrier holds."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from huey.api import Task
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from huey_otel import _failures
from huey_otel import _names as n
from huey_otel._attempts import Attempt, Outgoing
from huey_otel._carrier import Carrier
from huey_otel._guard import guarded
from huey_otel._provider import Provided
from huey_otel._records import TaskFacts
from huey_otel._settings import Settings

_MOST_HOPS: Final = 100
_LONGEST_DESCRIPTION: Final = 1_024
_LARGEST_BAGGAGE: Final = 4_096
_SEND: Final = "send"
_PROCESS: Final = "process"


class Tracing:
    """Starts and ends the spans of one instrumented huey.

    *provided* is called at the first span, so an application may set its
    provider after `instrument`.
    """

    def __init__(
        self, queue: str, settings: Settings, provided: Callable[[], Provided]
    ) -> None:
        self._queue = queue
        self._settings = settings
        self._provided = provided
        self._enqueue_attributes = self._operation(n.ENQUEUE, _SEND)
        self._process_attributes = self._operation(n.PROCESS, _PROCESS)

    def _operation(self, name: str, kind: str) -> dict[str, Any]:
        return {
            n.MESSAGING_SYSTEM: n.SYSTEM,
            n.MESSAGING_OPERATION_NAME: name,
            n.MESSAGING_OPERATION_TYPE: kind,
            n.MESSAGING_DESTINATION_NAME: self._queue,
        }

    @guarded
    def enqueue(self, outgoing: Outgoing, facts: TaskFacts) -> None:
        """Start the span of an enqueue, make it current, and send it along."""
        task = outgoing.task
        attributes = self._attributes(self._enqueue_attributes, task, facts)
        span = self._provided().tracer.start_span(
            self._name(n.ENQUEUE, facts), kind=SpanKind.PRODUCER, attributes=attributes
        )
        outgoing.span = span
        context = trace.set_span_in_context(span)
        outgoing.carrier = replace(outgoing.carrier, headers=headers_of(context))
        outgoing.token = contexts.attach(context)

    @guarded
    def enqueued(self, outgoing: Outgoing) -> None:
        """End the span of an enqueue, and make current again what was so before."""
        token, outgoing.token = outgoing.token, None
        if token is not None:
            contexts.detach(token)
        span = outgoing.span
        if span is None:
            return
        error = outgoing.error
        if error is not None and span.is_recording():
            span.set_attribute(n.ERROR_TYPE, _failures.class_name(error))
            span.set_status(Status(StatusCode.ERROR, message_of(error)))
            span.record_exception(error)
        span.end()

    @guarded
    def start(self, attempt: Attempt, wait: float | None) -> None:
        """Start the span of *attempt*, and make it current until `leave`."""
        parent, links = self._parent(attempt)
        above = trace.get_current_span(parent).get_span_context()
        parent_id = trace.format_span_id(above.span_id) if above.is_valid else None
        attributes = self._attributes(
            self._process_attributes, attempt.task, attempt.facts
        )
        if wait is not None:
            attributes[n.TASK_WAIT] = wait
        if attempt.worker is not None:
            attributes[n.WORKER_NAME] = attempt.worker
        span = self._provided().tracer.start_span(
            self._name(n.PROCESS, attempt.facts),
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
            start_time=_nanoseconds(attempt.started or 0.0),
        )
        attempt.span = span
        if links and parent_id is None:
            attempt.hops = 0
        ids = span.get_span_context()
        if ids.is_valid and ids.trace_flags & TraceFlags.SAMPLED:
            attempt.facts = attempt.facts._replace(
                trace_id=trace.format_trace_id(ids.trace_id),
                span_id=trace.format_span_id(ids.span_id),
                parent_id=parent_id,
            )
        attempt.token = contexts.attach(trace.set_span_in_context(span, parent))

    @guarded
    def end(
        self, attempt: Attempt, failure: Mapping[str, Any] | None, message: str | None
    ) -> None:
        """End the span of *attempt* as its outcome says; it stays current."""
        span = attempt.span
        if span is None:
            return
        end = (attempt.started or 0.0) + (attempt.duration or 0.0)
        if span.is_recording():
            span.set_attribute(n.TASK_OUTCOME, attempt.outcome or "")
            if failure is not None:
                _record_failure(span, failure, message, _nanoseconds(end))
        span.end(_nanoseconds(end))

    @guarded
    def leave(self, attempt: Attempt) -> None:
        """Make current again what was so before `start`; by the thread of the attempt."""
        token, attempt.token = attempt.token, None
        if token is not None:
            contexts.detach(token)
        attempt.span = None

    @guarded
    def short(self, attempt: Attempt, outcome: str) -> None:
        """Tell in the trace why nothing was run."""
        parent, links = self._parent(attempt)
        attributes = self._attributes(
            self._process_attributes, attempt.task, attempt.facts
        )
        attributes[n.TASK_OUTCOME] = outcome
        self._provided().tracer.start_span(
            self._name(n.PROCESS, attempt.facts),
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=links,
        ).end()

    def _name(self, operation: str, facts: TaskFacts) -> str:
        by_task = self._settings.span_naming == "task"
        return f"{operation} {facts.name if by_task else self._queue}"

    def _attributes(
        self, operation: dict[str, Any], task: Task, facts: TaskFacts
    ) -> dict[str, Any]:
        attributes = operation.copy()
        attributes[n.MESSAGING_MESSAGE_ID] = facts.id
        attributes[n.TASK_NAME] = facts.name
        attributes[n.TASK_ATTEMPT] = facts.attempt
        attributes[n.TASK_RETRIES_LEFT] = task.retries
        if task.priority is not None:
            attributes[n.TASK_PRIORITY] = task.priority
        if facts.execute_time is not None:
            attributes[n.TASK_ETA] = facts.execute_time
        return attributes

    def _parent(self, attempt: Attempt) -> tuple[Context, list[Link]]:
        """The context that *attempt*'s span starts in, and what it is linked to."""
        carrier = attempt.carrier
        if attempt.nested:
            # In immediate mode the enqueue is current, and the run is inside it.
            return contexts.get_current(), []
        if carrier is None:
            return Context(), []
        links = _retry_links(carrier)
        if not carrier.headers:
            return Context(), links
        how = self._how(attempt.task, carrier)
        if how == n.PROPAGATE_NONE:
            return Context(), links
        extracted = propagate.extract(carrier.headers, Context())
        if how == n.PROPAGATE_CHILD:
            return extracted, links
        origin = trace.get_current_span(extracted).get_span_context()
        if origin.is_valid:
            links.insert(0, Link(origin))
        return Context(), links

    def _how(self, task: Task, carrier: Carrier) -> str:
        how = self._settings.propagation
        if callable(how):
            how = how(task)
            if how not in n.PROPAGATIONS:
                raise ValueError(
                    f"propagation() returned {how!r}:"
                    f" expected one of {', '.join(n.PROPAGATIONS)}"
                )
        if how != n.PROPAGATE_AUTO:
            return str(how)
        if carrier.hops > _MOST_HOPS:
            return n.PROPAGATE_LINK
        if carrier.eta is not None:
            if carrier.eta - carrier.enqueued > self._settings.link_after:
                return n.PROPAGATE_LINK
        return n.PROPAGATE_CHILD


def headers_of(context: Context) -> dict[str, str]:
    """What the global propagator makes of *context*; too much baggage is left out."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    if len(headers.get("baggage", "")) > _LARGEST_BAGGAGE:
        del headers["baggage"]
    return headers


def traceparent(span: Span | None) -> str | None:
    """*span* as W3C writes it, for a link to an attempt before; None if it has no id."""
    ids = trace.INVALID_SPAN_CONTEXT if span is None else span.get_span_context()
    if not ids.is_valid:
        return None
    return (
        f"00-{trace.format_trace_id(ids.trace_id)}"
        f"-{trace.format_span_id(ids.span_id)}-{ids.trace_flags:02x}"
    )


def _retry_links(carrier: Carrier) -> list[Link]:
    if carrier.previous is None:
        return []
    try:
        _, trace_id, span_id, flags = carrier.previous.split("-")
        before = SpanContext(
            int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16))
        )
    except ValueError:
        return []
    return [Link(before, {n.LINK_KIND: "retry"})] if before.is_valid else []


def _record_failure(
    span: Span, failure: Mapping[str, Any], message: str | None, end: int
) -> None:
    """Record the exception as the traceback that was formatted already says it."""
    name = failure.get("exception") or "unknown"
    span.set_attribute(n.ERROR_TYPE, name)
    span.set_status(Status(StatusCode.ERROR, message))
    attributes = {"exception.type": name}
    if message is not None:
        attributes["exception.message"] = message
    if failure.get("traceback"):
        attributes["exception.stacktrace"] = failure["traceback"]
    span.add_event("exception", attributes, end)


def message_of(error: BaseException | None) -> str | None:
    """What *error* says, at most 1,024 characters; None if it cannot say it."""
    return None if error is None else _failures.message(error)[:_LONGEST_DESCRIPTION]


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
