"""Spans of attempts whose worker died before it ended them."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

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
from huey_otel._otel.provider import ResolvedProvider
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

    def __init__(self, provider: Callable[[], ResolvedProvider], naming: str) -> None:
        self._provider = provider
        self._naming = naming

    def __call__(self, record: Record, source: Source) -> None:
        lost = record.status == EVENT_LOST
        ended_inside = record.status == mapping.ENDED and record.start is not None
        if record.facts is None or not (lost or ended_inside):
            return
        facts = TaskFacts(*record.facts)
        if facts.trace_id is None or facts.span_id is None:
            return
        extra = record.extra or {}
        outcome = n.OUTCOME_LOST if lost else extra["outcome"] or ""
        failed = outcome in mapping.FAILURES
        start = SpanStart(*(record.start or ()))
        place = facts.name if self._naming == n.NAMING_TASK else source.queue
        attributes = _attributes(facts, record, start, source)
        attributes[n.TASK_OUTCOME] = outcome
        if failed:
            attributes[n.ERROR_TYPE] = extra.get("exception") or outcome
        span: dict[str, Any] = {
            "name": f"{n.PROCESS} {place}",
            "kind": SpanKind.CONSUMER,
            "attributes": attributes,
            "links": links_of(start),
            "start_time": int((record.timestamp - extra.get("duration", 0.0)) * 1e9),
        }
        end = int(record.timestamp * 1e9)
        code = StatusCode.ERROR if failed else StatusCode.UNSET
        status = Status(code, "the worker died" if lost else None)
        ids = partial(_ids, facts.trace_id, trace_state=state_of(start.state))
        own = ids(facts.span_id, is_remote=False)
        parent = None
        if facts.parent_id is not None:
            parent = ids(facts.parent_id, is_remote=True)
        provider = self._provider()
        if provider.built is not None:
            span |= {"status": status, "end_time": end, "context": own}
            _export(provider.built, span, parent, record.pid)
        else:
            span["links"].insert(0, Link(own))
            within = trace.set_span_in_context(
                NonRecordingSpan(parent or own), Context()
            )
            linked = provider.tracer.start_span(context=within, **span)
            linked.set_status(status)
            linked.end(end)


def _export(
    built: "BuiltProvider", span: dict[str, Any], parent: SpanContext | None, pid: int
) -> None:
    """Give our processors *span*, which the process *pid* has left open."""
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
        parent=parent,
        resource=built.resource.of(pid),
        instrumentation_scope=InstrumentationScope(n.DISTRIBUTION, version()),
        **span,
    )
    for processor in built.processors:
        processor.on_end(readable)


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
    }
    known = {
        n.TASK_PRIORITY: start.priority,
        n.TASK_WAIT: start.wait,
        n.TASK_ETA: facts.execute_time,
        n.TASK_RETRIES_LEFT: encodable.number(record.retries),
        n.WORKER_NAME: record.worker,
    }
    return attributes | {key: one for key, one in known.items() if one is not None}
