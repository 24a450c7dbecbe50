"""The provider that we build: exporters that survive forks, and say once what fails."""

import logging

# requests imports it at its first request, on a thread: who is forked meanwhile
# would wait for it for ever.
import netrc  # noqa: F401
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Final

import requests
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar

from huey_otel import _names as n
from huey_otel._export import (
    CREDENTIALS,
    EXPORTERS,
    GRPC,
    HTTP,
    ID_GENERATORS,
    Export,
)
from huey_otel._failures import class_name
from huey_otel._forks import in_child
from huey_otel._grpc import BetweenForks, wait_in_greenlets
from huey_otel._interrupts import or_else
from huey_otel._losses import LOSSES
from huey_otel._repair import repaired, sayable
from huey_otel._span_counts import SPANS

_TALKATIVE: Final = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)


def build(export: Export, queue: str) -> tuple[TracerProvider, list[SpanProcessor]]:
    """Make the provider that *export* asks for; `service.name` is *queue* by default.

    It leaves its end to us, because the SDK's waits up to 30 s for a collector.
    """
    resource = sayable(Resource.create(export.resource(queue)))
    ids = _named(ID_GENERATORS, export.id_generator)() if export.id_generator else None
    provider = TracerProvider(
        resource=resource, shutdown_on_exit=False, id_generator=ids
    )
    processors = [_processor(name, export.credentials) for name in export.exporters]
    for processor in processors:
        provider.add_span_processor(processor)
    return provider, processors


def _named(group: str, name: str) -> Callable[..., Any]:
    """Load what an entry point names; LookupError if there is none."""
    for point in entry_points(group=group, name=name):
        made: Callable[..., Any] = point.load()
        return made
    raise LookupError(f"{group} has no {name!r}")


def _processor(name: str, credentials: str) -> SpanProcessor:
    make: Callable[..., SpanExporter] = _named(EXPORTERS, name)
    if name == GRPC:
        wait_in_greenlets()
        exporter: SpanExporter = BetweenForks(make())
    else:
        exporter = make(session=_session(credentials)) if name == HTTP else make()
    if isinstance(exporter, ConsoleSpanExporter):
        return SimpleSpanProcessor(exporter)
    for logger in _TALKATIVE:
        logging.getLogger(logger).addFilter(_HELD_BACK)
    return CountingProcessor(CountingExporter(exporter))


def _session(credentials: str) -> requests.Session:
    """The session of an exporter, which then looks for no *credentials* itself."""
    session: requests.Session = (
        _named(CREDENTIALS, credentials)() if credentials else requests.Session()
    )
    _SESSIONS.append(Unshared(session))
    return session


class Unshared:
    """Gives *session* connections of its own in each forked child.

    Two processes on one kept-alive connection mix up their requests
    (opentelemetry-exporter-otlp-proto-http 1.45).
    """

    def __init__(self, session: requests.Session) -> None:
        self._session = session
        self._inherited: list[object] = []
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        # What is inherited is neither closed nor let go: both take locks that the
        # thread which sends may have held in the parent.
        self._inherited.append(self._session.cookies)
        self._session.cookies = RequestsCookieJar()
        for adapter in self._session.adapters.values():
            if isinstance(adapter, HTTPAdapter):
                self._inherited += [adapter.poolmanager, adapter.proxy_manager]
                adapter.proxy_manager = {}
                adapter.init_poolmanager(
                    adapter._pool_connections,  # noqa: SLF001 - as it unpickles itself
                    adapter._pool_maxsize,  # noqa: SLF001
                    block=adapter._pool_block,  # noqa: SLF001
                )


_SESSIONS: Final[list[Unshared]] = []


class CountingExporter(SpanExporter):
    """Counts the spans that *exporter* could not deliver, and says so once a streak.

    What the exporter logs itself, for each try of each batch, is held back.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand *spans* on, and see what becomes of them."""
        result, reason = self._tried(spans)
        if result is SpanExportResult.SUCCESS:
            LOSSES.recovered(n.LOSS_SPANS_UNENCODABLE)
        elif (encodable := repaired(spans)) is not None:
            if not encodable:
                return SpanExportResult.FAILURE
            spans = encodable
            result, reason = self._tried(spans)
        if result is SpanExportResult.SUCCESS:
            SPANS.here.exported(len(spans))
            LOSSES.recovered(n.LOSS_SPANS, message="spans are delivered again")
            return result
        why = f"spans could not be delivered: {reason or 'no reason given'}"
        SPANS.here.counted(len(spans))
        LOSSES.count(n.LOSS_SPANS, len(spans), why=why)
        return SpanExportResult.FAILURE

    def _tried(self, spans: Sequence[ReadableSpan]) -> tuple[SpanExportResult, str]:
        _HELD_BACK.begin()
        try:
            result = self._export(spans)
        finally:
            reason = _HELD_BACK.end()
        return result, reason

    def _export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        failed: Callable[[Exception], SpanExportResult] = _HELD_BACK.raised
        return or_else(lambda: self._exporter.export(spans), failed)

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Make the exporter deliver what it keeps, if it does that."""
        return self._exporter.force_flush(timeout_millis)


class CountingProcessor(BatchSpanProcessor):
    """Knows how many spans ended, and so how many are left when the process ends."""

    def on_end(self, span: ReadableSpan) -> None:
        """Count *span* if it is one to export."""
        if span.context is not None and span.context.trace_flags.sampled:
            # First: a task's timeout in between leaves one that never is exported.
            next(SPANS.here.ended)
        super().on_end(span)

    def give_up(self) -> None:
        """The process ends: what was not exported by now is lost."""
        left = SPANS.here.left
        if left:
            SPANS.here.counted(left)
            why = f"spans were not delivered in time: {_HELD_BACK.last}"
            LOSSES.count(n.LOSS_SPANS, left, why=why)


class _HeldBack(logging.Filter):
    """Keeps warnings back that are logged by a thread between `begin` and `end`."""

    def __init__(self) -> None:
        super().__init__()
        self.last = "no answer"
        self.renew()
        in_child(self.renew)

    def renew(self) -> None:
        """Hold nothing back on any thread."""
        self._here = threading.local()

    def begin(self) -> None:
        self._here.reason = ""

    def end(self) -> str:
        reason: str = self._here.reason
        del self._here.reason
        return reason

    def raised(self, error: Exception) -> SpanExportResult:
        """An exporter raised, as that for HTTP did up to opentelemetry 1.30."""
        self._here.reason = self.last = f"{class_name(error)}: {error}"
        return SpanExportResult.FAILURE

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or not hasattr(self._here, "reason"):
            return True
        self._here.reason = self.last = record.getMessage()
        return False


_HELD_BACK: Final[Any] = _HeldBack()
