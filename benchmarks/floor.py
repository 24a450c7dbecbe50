"""The floor: what the bare SDK takes for the same spans and headers, without huey."""

import time
from collections.abc import Sequence
from typing import Final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.trace import SpanKind, Tracer

SAMPLED: Final = "bare SDK, sampled"
UNSAMPLED: Final = "bare SDK, not sampled"

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


def provider() -> TracerProvider:
    """A provider like an application's, except that its exporter drops all spans.

    The environment chooses the sampler.
    """
    made = TracerProvider(resource=Resource({}))
    made.add_span_processor(BatchSpanProcessor(Dropping()))
    return made


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


class Floor:
    """Times `Spans`."""

    def __init__(self) -> None:
        self._provider = provider()
        self._spans = Spans(self._provider)

    def produce(self, tasks: int) -> tuple[float, float]:
        """CPU and wall seconds for the spans of *tasks* enqueues."""
        produce, cpu, wall = (
            self._spans.produce,
            time.thread_time(),
            time.perf_counter(),
        )
        for _ in range(tasks):
            produce({})
        return time.thread_time() - cpu, time.perf_counter() - wall

    def work(self, tasks: int) -> tuple[float, float]:
        """CPU and wall seconds for the spans of *tasks* attempts."""
        work, cpu, wall = self._spans.work, time.thread_time(), time.perf_counter()
        for _ in range(tasks):
            work()
        return time.thread_time() - cpu, time.perf_counter() - wall

    def settle(self) -> None:
        """Hand all spans to the exporter."""
        self._provider.force_flush()
