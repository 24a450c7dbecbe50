"""The web process of a demo: it puts the load on the queue, a request for each case."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from runtime.load.cases import Case
from runtime.load.mix import mix
from runtime.load.run import enqueue

SERVICE = "shop-web"
ORDER = "POST /order"
OFFICE = "POST /office"
ABOUT_ORDERS = frozenset(
    ("charge_card", "await_transfer", "call_courier", "pack_order")
)


def serve(tasks: int, seed: int, wait: float, ledger: Path) -> None:
    """Enqueue *tasks* of the mix *seed*, traced as any web application is."""
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    enqueue(requests(mix(tasks, seed)), wait=wait).write(ledger)


def requests(cases: Iterable[Case]) -> Iterator[Case]:
    """Hand out *cases*, each while the span of its request is the current one."""
    tracer = trace.get_tracer(SERVICE)
    for case in cases:
        name = ORDER if case.task.name in ABOUT_ORDERS else OFFICE
        with tracer.start_as_current_span(name, kind=SpanKind.SERVER):
            yield case


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
