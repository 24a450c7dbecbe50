"""The SDK's tracer provider, built from the environment, and its exporters."""

from functools import partial

from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from huey_otel._options.export import EXPORTERS, ID_GENERATORS, Export
from huey_otel._options.otel_variables import GRPC, HTTP, replaced
from huey_otel._otel import made_exporters, resource
from huey_otel._otel.entry_points import load_entry_point
from huey_otel._otel.exporter import CountingExporter
from huey_otel._otel.light import PLAIN
from huey_otel._otel.made_exporters import maker_of, not_made
from huey_otel._otel.span_queue import CountingProcessor
from huey_otel._safety.timeout import or_else

PLAIN.add(CountingProcessor)


def load(export: Export) -> None:
    """Import everything that building the provider and the first export need."""
    made_exporters.load(export, EXPORTERS)
    if export.id_generator:
        load_entry_point(ID_GENERATORS, export.id_generator)


class BuiltProvider:
    """The provider that *export* asks for; `service.name` is *queue* by default.

    `names` are the exporters that work, `problems` says to people why others do
    not. The exporters are made at their first export, or *at_once*.
    """

    def __init__(self, export: Export, queue: str, *, at_once: bool) -> None:
        self.names: list[str] = []
        self.problems: list[str] = []
        self.processors: list[SpanProcessor] = []
        self.resource = resource.resource_of(export, queue)
        self._export = export
        self._exporters: dict[str, CountingExporter] = {}
        unread = export.unread()
        self.problems += unread.values()
        self._instead = {**export.instead, **dict.fromkeys(unread)}
        with replaced(self._instead):
            for name in export.exporters:
                if unread and export.tls and name in (GRPC, HTTP):
                    continue
                add = partial(self._add, name, at_once=at_once)
                if (why := or_else(add, partial(not_made, name))) is not None:
                    self.problems.append(why)
            ids = export.id_generator
            self.limits = SpanLimits()
            self.provider = TracerProvider(
                resource=self.resource,
                # Our own flush is shorter: the SDK's shutdown may take 30 s.
                shutdown_on_exit=False,
                id_generator=load_entry_point(ID_GENERATORS, ids)() if ids else None,
                span_limits=self.limits,
            )
        for processor in self.processors:
            self.provider.add_span_processor(processor)

    def _add(self, name: str, *, at_once: bool) -> None:
        make = load_entry_point(EXPORTERS, name)
        if isinstance(make, type) and issubclass(make, ConsoleSpanExporter):
            processor: SpanProcessor = SimpleSpanProcessor(make())
        else:
            exporter = CountingExporter(
                maker_of(name, make, self._export, self._instead), self.resource
            )
            if at_once:
                exporter.start()
            self._exporters[name] = exporter
            processor = CountingProcessor(exporter)
        self.names.append(name)
        self.processors.append(processor)

    def start(self) -> str | None:
        """Make the exporters now; return why one of them cannot be made."""
        for name, exporter in self._exporters.items():
            made = or_else(exporter.start, partial(not_made, name))
            if isinstance(made, str):
                return made
        return None
