"""The provider that we build: exporters that survive forks, and say once what fails."""

import logging

# requests imports it at its first request, on a thread: who is forked meanwhile
# would wait for it for ever.
import netrc  # noqa: F401
import threading
from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final

import requests
from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    TracerProvider,
)
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
from huey_otel._options.otel import CREDENTIALS, EXPORTERS, ID_GENERATORS, Export
from huey_otel._options.standard import GRPC, HTTP, Instead, replaced
from huey_otel._otel import grpc
from huey_otel._otel import resource as resources
from huey_otel._otel.grpc import BetweenForks, wait_in_greenlets
from huey_otel._otel.repair import repaired, strictly
from huey_otel._otel.resource import ProcessResource, resource_of
from huey_otel._otel.span_counts import SPANS
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.forks import COLLECTING, in_child
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import or_else

_TALKATIVE: Final = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
)


def load(export: Export) -> None:
    """Import all that `build` and the exporters need, and make nothing of it."""
    for name in export.exporters:
        _named(EXPORTERS, name)
    if GRPC in export.exporters:
        grpc.load()
    if export.id_generator:
        _named(ID_GENERATORS, export.id_generator)
    if export.credentials and HTTP in export.exporters:
        _named(CREDENTIALS, export.credentials)
    if export.detectors:
        resources.load(export.detectors)


class Built:
    """What *export* asks for; `service.name` is *queue* by default.

    The provider leaves its end to us, because the SDK's waits up to 30 s for a
    collector. `names` are the exporters that there are, `problems` says to people
    why others are not. They are made when there are spans, or *at_once*.
    """

    def __init__(self, export: Export, queue: str, *, at_once: bool) -> None:
        self.names: list[str] = []
        self.problems: list[str] = []
        self.processors: list[SpanProcessor] = []
        self._late: list[LateExporter] = []
        self._export = export
        self._at_once = at_once
        self.resource = resource_of(export, queue)
        unread = {} if {GRPC, HTTP}.isdisjoint(export.exporters) else export.unread()
        self._instead = {**export.instead, **dict.fromkeys(unread)}
        self.problems += unread.values()
        with replaced(self._instead):
            for name in export.exporters:
                if not (unread and export.tls and name in (GRPC, HTTP)):
                    self._try(name)
            ids = export.id_generator
            self.limits = SpanLimits()
            self.provider = TracerProvider(
                resource=self.resource,
                shutdown_on_exit=False,
                id_generator=_named(ID_GENERATORS, ids)() if ids else None,
                span_limits=self.limits,
            )
        for processor in self.processors:
            self.provider.add_span_processor(processor)

    def _try(self, name: str) -> None:
        def failed(error: Exception) -> None:
            self.problems.append(_why(name, error))

        or_else(lambda: self._add(name), failed)

    def _add(self, name: str) -> None:
        make = _named(EXPORTERS, name)
        if isinstance(make, type) and issubclass(make, ConsoleSpanExporter):
            processor: SpanProcessor = SimpleSpanProcessor(make())
        else:
            late = self._make_late(name)
            exporter = BetweenForks(late) if name == GRPC else late
            processor = CountingProcessor(CountingExporter(exporter))
        self.names.append(name)
        self.processors.append(processor)

    def _make_late(self, name: str) -> "LateExporter":
        credentials = self._export.credentials if name == HTTP else ""
        if credentials:
            _named(CREDENTIALS, credentials)
        if name == GRPC:
            wait_in_greenlets()
        asked = self._export.asked(name)
        late = LateExporter(name, asked, credentials, self._instead, self.resource)
        if self._at_once:
            late.start()
        for logger in _TALKATIVE:
            logging.getLogger(logger).addFilter(_HELD_BACK)
        self._late.append(late)
        return late

    def start(self) -> str | None:
        """Make the exporters now, where no request waits; why one cannot be made."""
        for late in self._late:
            why = late.trouble()
            if why is not None:
                return why
        return None


def _why(name: str, error: Exception) -> str:
    return f"the exporter {name} cannot be made: {class_name(error)}: {message(error)}"


@cache
def _named(group: str, name: str) -> Callable[..., Any]:
    """Load what an entry point names; LookupError if there is none."""
    for point in entry_points(group=group, name=name):
        made: Callable[..., Any] = point.load()
        return made
    raise LookupError(f"{group} has no {name!r}")


class LateExporter(SpanExporter):
    """The exporter *name*, made by the thread that first exports.

    No request waits for its threads and its session. No fork happens while it
    is made; a child that has none yet makes its own.
    """

    def __init__(
        self,
        name: str,
        asked: dict[str, Any],
        credentials: str,
        instead: Instead,
        resource: ProcessResource,
    ) -> None:
        self._name = name
        self._asked = asked
        self._credentials = credentials
        self._instead = instead
        self._resource = resource
        self._made: SpanExporter | None = None

    def start(self) -> SpanExporter:
        """Make it, if it is not."""
        made = self._made
        if made is None:
            # A detector of it may ask the network, and no fork is to wait for that.
            _ = self._resource.attributes
            with COLLECTING:
                made = self._made
                if made is None:
                    with replaced(self._instead):
                        made = self._made = self._new()
        return made

    def trouble(self) -> str | None:
        """Make it, if it is not; why that is not possible."""

        def started() -> None:
            self.start()

        return or_else(started, lambda error: _why(self._name, error))

    def _new(self) -> SpanExporter:
        make: Callable[..., SpanExporter] = _named(EXPORTERS, self._name)
        if self._name == HTTP:
            return make(session=_session(self._credentials), **self._asked)
        return make(**self._asked)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand *spans* on."""
        return self.start().export(spans)

    def shutdown(self) -> None:
        """Shut it down, if it was made."""
        if self._made is not None:
            self._made.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Make it deliver what it keeps, if it was made and does that."""
        return self._made is None or self._made.force_flush(timeout_millis)


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
            with strictly():
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
