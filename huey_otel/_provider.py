"""The tracer provider: the application's, or one built as the environment says."""

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider, Tracer, TracerProvider

from huey_otel import _names as n
from huey_otel._losses import LOSSES
from huey_otel._settings import Export
from huey_otel._version import version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

logger = logging.getLogger(n.LOGGER)

_ENTRY_POINTS: Final = "opentelemetry_traces_exporter"
_GRPC: Final = "otlp_proto_grpc"
_HTTP: Final = "otlp_proto_http"
_TALKATIVE: Final = "opentelemetry.exporter.otlp"


@dataclass(frozen=True, slots=True)
class Provided:
    """A tracer, and what is behind it.

    `provider` is flushed at the end; `processor` is only there when we built
    the provider. `where` says to people where spans go, or why they do not.
    """

    tracer: Tracer
    provider: TracerProvider
    where: str
    processor: Any = None


def resolve(given: TracerProvider | None, export: Export, queue: str) -> Provided:
    """Find the provider: the argument, the global one, or one from the environment.

    Built and set globally only if the application set none by now and the
    environment names an exporter; otherwise spans cost what the API costs.
    """
    if given is not None:
        return _provided(given, "to the tracer_provider= given")
    current = trace.get_tracer_provider()
    for built in _built:
        if built.provider is current:
            return built
    if not isinstance(current, ProxyTracerProvider):
        return _provided(current, "to the application's tracer provider")
    if export.disabled:
        return _provided(current, "off, OTEL_SDK_DISABLED is set")
    if not export.exporters:
        return _provided(current, f"off, {export.why_none}")
    return _build(export, queue)


def _provided(provider: TracerProvider, where: str, processor: Any = None) -> Provided:
    return Provided(
        trace.get_tracer(n.DISTRIBUTION, version(), tracer_provider=provider),
        provider,
        where,
        processor,
    )


def _build(export: Export, queue: str) -> Provided:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        ConsoleSpanExporter,
        SimpleSpanProcessor,
    )

    attributes = {} if export.service_name_given else {"service.name": queue}
    provider = SdkTracerProvider(
        resource=Resource.create(attributes), shutdown_on_exit=False
    )
    processor = None
    for name in export.exporters:
        exporter = _exporter(name, export)
        if isinstance(exporter, ConsoleSpanExporter):
            processor = SimpleSpanProcessor(exporter)
        else:
            processor = BatchSpanProcessor(_counting(exporter))
        provider.add_span_processor(processor)
    trace.set_tracer_provider(provider)
    where = f"over {', '.join(map(_spoken, export.exporters))} to {export.target}"
    _built[:] = [_provided(provider, where, processor)]
    return _built[0]


_built: list[Provided] = []


def _spoken(name: str) -> str:
    return {_GRPC: "OTLP/gRPC", _HTTP: "OTLP/HTTP"}.get(name, name)


def _exporter(name: str, export: Export) -> "SpanExporter":
    """Make the exporter *name*, by the entry point that OpenTelemetry's own use."""
    found = list(entry_points(group=_ENTRY_POINTS, name=name))
    if not found:
        known = sorted(point.name for point in entry_points(group=_ENTRY_POINTS))
        raise ValueError(
            f"OTEL_TRACES_EXPORTER={name!r}: expected one of {', '.join(known)}, none"
        )
    make = found[0].load()
    exporter: SpanExporter = make(session=_session()) if name == _HTTP else make()
    return exporter


def _session() -> Any:
    """A session that a forked child does not share.

    Two processes on one kept-alive connection mix up their requests
    (OpenTelemetry 1.45, issue 4994).
    """
    import requests

    session = requests.Session()
    os.register_at_fork(after_in_child=session.close)
    return session


def _counting(exporter: "SpanExporter") -> "SpanExporter":
    """Count the spans that *exporter* could not deliver, and let it say so once."""
    from opentelemetry.sdk.trace.export import SpanExporter as Base
    from opentelemetry.sdk.trace.export import SpanExportResult as Result

    class CountingExporter(Base):
        def export(self, spans: "Sequence[ReadableSpan]") -> "SpanExportResult":
            result = exporter.export(spans)
            if result is Result.SUCCESS:
                LOSSES.recovered(n.LOSS_SPANS, message="spans are delivered again")
                _ONCE.muted = False
            else:
                why = "spans could not be delivered"
                LOSSES.count(n.LOSS_SPANS, len(spans), why=why)
                _ONCE.muted = True
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30000) -> bool:
            return exporter.force_flush(timeout_millis)

    for module in (
        "proto.http.trace_exporter",
        "proto.grpc.exporter",
        "proto.grpc.trace_exporter",
    ):
        logging.getLogger(f"{_TALKATIVE}.{module}").addFilter(_ONCE)
    return CountingExporter()


class _Once(logging.Filter):
    """Lets the exporters' own log lines through until a batch has failed.

    They repeat for each try of each batch (1.45: 11 to 20 lines in 50 s).
    """

    muted = False

    def filter(self, record: logging.LogRecord) -> bool:
        return not self.muted


_ONCE: Final = _Once()


def flush(provider: TracerProvider, timeout: float) -> bool:
    """Export what waits, for *timeout* seconds at most; True if that was enough.

    The SDK's force_flush ignores its own timeout (OpenTelemetry issue 4568),
    so it runs on a thread that may be left behind.
    """
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is None:
        return True
    thread = threading.Thread(
        target=force_flush, args=(int(timeout * 1000),), daemon=True
    )
    thread.start()
    thread.join(timeout)
    return not thread.is_alive()
