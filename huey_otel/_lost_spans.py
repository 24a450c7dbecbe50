"""Spans of lost attempts: the worker that began them can no longer end them."""

from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)

from huey_otel import _names as n
from huey_otel._provider import Provided
from huey_otel._records import Key, Record, Source, Sum, TaskFacts
from huey_otel.events import EVENT_LOST


class LostSpans:
    """A sink that exports a span for each lost attempt that had begun one.

    It has the ids that the worker gave it when the provider is ours, so that
    what ran inside keeps its parent; else it is linked to them.
    """

    def __init__(self, provided: Callable[[], Provided], naming: str = "task") -> None:
        self._provided = provided
        self._naming = naming

    def __call__(self, record: Record, source: Source) -> None:
        """Take *record* in if it says that a started attempt was lost."""
        if record.status != EVENT_LOST or record.facts is None:
            return
        facts = TaskFacts(*record.facts)
        if facts.trace_id is not None and facts.span_id is not None:
            self._export(record, facts, source, _context(facts.trace_id, facts.span_id))

    def add_sum(self, key: Key, total: Sum, source: Source) -> None:
        """Nothing: sums know no spans."""

    def _export(
        self, record: Record, facts: TaskFacts, source: Source, lost: SpanContext
    ) -> None:
        provided = self._provided()
        began = record.timestamp - (record.extra or {}).get("duration", 0.0)
        place = facts.name if self._naming == "task" else source.queue
        span: dict[str, Any] = {
            "name": f"{n.PROCESS} {place}",
            "kind": SpanKind.CONSUMER,
            "attributes": _attributes(facts, record, source),
            "start_time": int(began * 1e9),
        }
        end = int(record.timestamp * 1e9)
        status = Status(StatusCode.ERROR, "the worker died")
        if provided.processor is None:
            linked = provided.tracer.start_span(
                links=[Link(lost)], **span
            )
            linked.set_status(status)
            linked.end(end)
            return
        from opentelemetry.sdk.trace import ReadableSpan

        parent = facts.parent_id and _context(facts.trace_id or "", facts.parent_id)
        provided.processor.on_end(
            ReadableSpan(
                context=lost,
                parent=parent or None,
                resource=getattr(provided.provider, "resource", None),
                status=status,
                end_time=end,
                instrumentation_scope=getattr(
                    provided.tracer, "_instrumentation_scope", None
                ),
                **span,
            )
        )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), False, TraceFlags(TraceFlags.SAMPLED)
    )


def _attributes(facts: TaskFacts, record: Record, source: Source) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        n.MESSAGING_SYSTEM: n.SYSTEM,
        n.MESSAGING_OPERATION_NAME: n.PROCESS,
        n.MESSAGING_OPERATION_TYPE: n.PROCESS,
        n.MESSAGING_DESTINATION_NAME: source.queue,
        n.MESSAGING_MESSAGE_ID: facts.id,
        n.TASK_NAME: facts.name,
        n.TASK_ATTEMPT: facts.attempt,
        n.TASK_OUTCOME: n.OUTCOME_LOST,
        n.ERROR_TYPE: n.OUTCOME_LOST,
    }
    if record.retries is not None:
        attributes[n.TASK_RETRIES_LEFT] = record.retries
    if record.worker is not None:
        attributes[n.WORKER_NAME] = record.worker
    return attributes
