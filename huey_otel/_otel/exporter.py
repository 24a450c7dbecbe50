"""Exporting spans: what does not arrive is counted, and logged once a streak."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)

from huey_otel import _names as n
from huey_otel._otel.repair import repaired, strict_encoding
from huey_otel._otel.span_counts import SPANS
from huey_otel._safety.failures import class_name
from huey_otel._safety.forks import COLLECTING, in_child
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import or_else


class CountingExporter(SpanExporter):
    """Exports with what *make* returns, and counts the spans that do not arrive.

    The thread that exports first calls *make*, so no request waits for it. A fork
    does; a child of a process that has no exporter yet makes its own.
    """

    def __init__(self, make: Callable[[], SpanExporter], resource: Resource) -> None:
        self._make = make
        self._resource = resource
        self._exporter: SpanExporter | None = None

    def start(self) -> SpanExporter:
        """Make the exporter, unless it is made already."""
        exporter = self._exporter
        if exporter is None:
            # Found before the lock is taken: a detector may ask the network, and no
            # fork must wait for that. A fork that waited for the lock goes on when the
            # exporter is made; if a detector ran then, the child would inherit the
            # SDK's lock of `service.instance.id` taken (opentelemetry-sdk 1.45).
            _ = self._resource.attributes
            with COLLECTING:
                exporter = self._exporter
                if exporter is None:
                    exporter = self._exporter = self._make()
        return exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export *spans*; if the batch cannot be encoded, those of them that can."""
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
        """Export *spans* once; the result, and why if it is a failure."""
        _LOG.begin()
        try:
            with strict_encoding():
                result = or_else(lambda: self.start().export(spans), _LOG.raised)
        finally:
            reason = _LOG.end()
        return result, reason

    def shutdown(self) -> None:
        """Shut the exporter down, if it was made."""
        if self._exporter is not None:
            self._exporter.shutdown()


class CountingProcessor(BatchSpanProcessor):
    """Counts the spans that end, to know how many are left when the process ends."""

    def on_end(self, span: ReadableSpan) -> None:
        """Count *span* if it is one to export."""
        if span.context is not None and span.context.trace_flags.sampled:
            # Counted first: a task's timeout after it leaves a span that never
            # is exported, and so is lost.
            next(SPANS.here.ended)
        super().on_end(span)


def give_up() -> None:
    """Count what this process has not exported by now as lost: it ends."""
    left = SPANS.here.left
    if left:
        SPANS.here.counted(left)
        why = f"spans were not delivered in time: {_LOG.last}"
        LOSSES.count(n.LOSS_SPANS, left, why=why)


class _ExporterLog(logging.Filter):
    """Holds back warnings that a thread logs between `begin` and `end`.

    OTLP's exporters log each try of each batch; we log the last line once a streak.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = "no answer"
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self._here = threading.local()

    def begin(self) -> None:
        self._here.reason = ""

    def end(self) -> str:
        reason: str = self._here.reason
        del self._here.reason
        return reason

    def raised(self, error: Exception) -> SpanExportResult:
        """Note *error*; the HTTP exporter raised it up to opentelemetry 1.30."""
        self._here.reason = self.last = f"{class_name(error)}: {error}"
        return SpanExportResult.FAILURE

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or not hasattr(self._here, "reason"):
            return True
        self._here.reason = self.last = record.getMessage()
        return False


_LOG: Final[Any] = _ExporterLog()

for _name in (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
):
    logging.getLogger(_name).addFilter(_LOG)
