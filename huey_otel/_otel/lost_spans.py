"""Spans of attempts whose worker died before it ended them."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._otel.provider import Provided
from huey_otel._safety import encodable
from huey_otel._safety.version import version
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel._wire.span import SpanStart, links_of, state_of
from huey_otel.events import EVENT_LOST

if TYPE_CHECKING:
    from huey_otel._otel.sdk_provider import BuiltProvider


class LostSpans:
    """A sink that exports a span for each attempt whose worker left its span open.

    The attempt was lost, or it had ended and its follow-ups still ran inside its
    span; its `ended` record then has a SpanStart.
    With our own provider the span has the ids that the worker gave it, so spans
    inside it keep their parent. Other providers choose ids themselves: the span
    gets new ones in the same trace, and a link to the old ones.
    """

    def __init__(self, provided: Callable[[], Provided], naming: str) -> None:
        self._provided = provided
        self._naming = naming

    def __call__(self, record: Record, source: Source) -> None:
        """Export a span if *record* is the end of an attempt with an open span."""
        if record.facts is None or not _is_open(record):
            return
        facts = TaskFacts(*record.facts)
        if facts.trace_id is None or facts.span_id is None:
            return
        began = record.timestamp - (record.extra or {}).get("duration", 0.0)
        start = SpanStart(*(record.start or ()))
        place = facts.name if self._naming == n.NAMING_TASK else source.queue
        span: dict[str, Any] = {
            "name": f"{n.PROCESS} {place}",
            "kind": SpanKind.CONSUMER,
            "attributes": _attributes(facts, record, start, source),
            "links": links_of(start),
            "start_time": int(began * 1e9),
        }
        end = int(record.timestamp * 1e9)
        ids = partial(_ids, facts.trace_id, trace_state=state_of(start.state))
        lost = ids(facts.span_id, is_remote=False)
        parent = None
        if facts.parent_id is not None:
            parent = ids(facts.parent_id, is_remote=True)
        provided = self._provided()
        status = _status(record)
        if provided.built is not None:
            span["status"] = status
            _export(provided.built, span, lost, parent, end, record.pid)
        else:
            _link(provided, span, lost, parent or lost, end, status)


def _export(
    built: "BuiltProvider",
    span: dict[str, Any],
    lost: SpanContext,
    parent: SpanContext | None,
    end: int,
    pid: int,
) -> None:
    """Give our processors the span with the ids of *lost* and its worker's pid."""
    from opentelemetry.attributes import BoundedAttributes
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    # The SDK applies its limits when a span starts.
    limits = built.limits
    span["attributes"] = BoundedAttributes(
        limits.max_span_attributes,
        span["attributes"],
        max_value_len=limits.max_span_attribute_length,
    )
    readable = ReadableSpan(
        context=lost,
        parent=parent,
        resource=built.resource.of(pid),
        instrumentation_scope=InstrumentationScope(n.DISTRIBUTION, version()),
        end_time=end,
        **span,
    )
    for processor in built.processors:
        processor.on_end(readable)


def _link(
    provided: Provided,
    span: dict[str, Any],
    lost: SpanContext,
    parent: SpanContext,
    end: int,
    status: Status,
) -> None:
    span["links"].insert(0, Link(lost))
    linked = provided.tracer.start_span(
        context=trace.set_span_in_context(NonRecordingSpan(parent), Context()), **span
    )
    linked.set_status(status)
    linked.end(end)


_LOST: Final = Status(StatusCode.ERROR, "the worker died")
_FAILED: Final = Status(StatusCode.ERROR)
_UNSET: Final = Status(StatusCode.UNSET)
_FAILURES: Final = (n.OUTCOME_ERROR, n.OUTCOME_TIMEOUT)


def _is_open(record: Record) -> bool:
    if record.status == mapping.ENDED:
        return record.start is not None
    return record.status == EVENT_LOST


def _status(record: Record) -> Status:
    if record.status == EVENT_LOST:
        return _LOST
    return _FAILED if (record.extra or {})["outcome"] in _FAILURES else _UNSET


def _ids(trace_id: str, span_id: str, **more: Any) -> SpanContext:
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), trace_flags=sampled, **more)


def _attributes(
    facts: TaskFacts, record: Record, start: SpanStart, source: Source
) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        n.MESSAGING_SYSTEM: n.SYSTEM,
        n.MESSAGING_OPERATION_NAME: n.PROCESS,
        n.MESSAGING_OPERATION_TYPE: n.TYPE_PROCESS,
        n.MESSAGING_DESTINATION_NAME: source.queue,
        n.MESSAGING_MESSAGE_ID: facts.id,
        n.TASK_NAME: facts.name,
        n.TASK_ATTEMPT: facts.attempt,
        n.MESSAGING_CLIENT_ID: CLIENT.id,
        **_ending(record),
    }
    if start.priority is not None:
        attributes[n.TASK_PRIORITY] = start.priority
    if start.wait is not None:
        attributes[n.TASK_WAIT] = start.wait
    if facts.execute_time is not None:
        attributes[n.TASK_ETA] = facts.execute_time
    retries = encodable.number(record.retries)
    if retries is not None:
        attributes[n.TASK_RETRIES_LEFT] = retries
    if record.worker is not None:
        attributes[n.WORKER_NAME] = record.worker
    return attributes


def _ending(record: Record) -> dict[str, Any]:
    if record.status == EVENT_LOST:
        return {n.TASK_OUTCOME: n.OUTCOME_LOST, n.ERROR_TYPE: n.OUTCOME_LOST}
    extra = record.extra or {}
    outcome = extra["outcome"] or ""
    if outcome not in _FAILURES:
        return {n.TASK_OUTCOME: outcome}
    return {n.TASK_OUTCOME: outcome, n.ERROR_TYPE: extra.get("exception") or outcome}
