"""The floor: the bare SDK makes the same spans and headers, without huey."""

from collections.abc import Sequence
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Tracer

ATTRIBUTES: Final[dict[str, str | int]] = {
    "messaging.system": "huey",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": "bench",
    "messaging.client.id": "bench-1:4711",
    "messaging.message.id": "5fcd8a6e-1de1-4f6e-93bb-1ef5d4c1c7a2",
    "huey.task.name": "__main__.nothing",
    "huey.task.attempt": 1,
    "huey.task.retries_left": 0,
}


class Dropping(SpanExporter):
    """An exporter that drops all spans."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Report success."""
        return SpanExportResult.SUCCESS


class Spans:
    """Makes the spans of a task, with attributes, context and headers."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer: Tracer = provider.get_tracer("floor")
        self._headers: dict[str, str] = {}
        self.produce(self._headers)

    def produce(self, headers: dict[str, str]) -> None:
        """Make the span of an enqueue, and inject it into *headers*."""
        span = self._tracer.start_span(
            "enqueue", kind=SpanKind.PRODUCER, attributes=ATTRIBUTES
        )
        token = contexts.attach(trace.set_span_in_context(span))
        propagate.inject(headers)
        contexts.detach(token)
        span.end()

    def work(self) -> None:
        """Make the span of an attempt, whose parent is the first enqueue."""
        parent = propagate.extract(self._headers)
        span = self._tracer.start_span(
            "process", context=parent, kind=SpanKind.CONSUMER, attributes=ATTRIBUTES
        )
        token = contexts.attach(trace.set_span_in_context(span, parent))
        contexts.detach(token)
        span.end()
