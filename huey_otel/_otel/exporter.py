"""Exporting spans: what does not arrive is counted, and logged once a streak."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from huey_otel import _names as n
from huey_otel._otel.answers import ANSWERS
from huey_otel._otel.batches import batches
from huey_otel._otel.late_exporter import LateExporter
from huey_otel._otel.repair import repaired
from huey_otel._otel.span_counts import SPANS
from huey_otel._safety.losses import LOSSES


class CountingExporter(LateExporter, SpanExporter):
    """Exports spans, and counts those that do not arrive."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export *spans* in requests that are not too large for a collector."""
        results = [self._delivered(batch) for batch in batches(spans)]
        return SpanExportResult.SUCCESS if all(results) else SpanExportResult.FAILURE

    def _delivered(self, spans: Sequence[ReadableSpan]) -> bool:
        """Export *spans*; if the batch cannot be encoded, those of them that can."""
        exported, answer = self.tried(spans)
        if exported:
            LOSSES.recovered(n.LOSS_SPANS_UNENCODABLE)
        elif (encodable := repaired(spans)) is not None:
            if not encodable:
                return False
            spans = encodable
            exported, answer = self.tried(spans)
        if not exported:
            why = f"spans could not be delivered: {answer.reason or 'no reason given'}"
            _lost(n.LOSS_SPANS, len(spans), why)
            return False
        rejected = min(answer.rejected, len(spans))
        SPANS.here.exported(len(spans) - rejected)
        if rejected < len(spans):
            LOSSES.recovered(n.LOSS_SPANS, message="spans are delivered again")
        if rejected or answer.message:
            what = "rejects spans" if rejected else "warns of spans that it took"
            message = answer.message or "no reason given"
            _lost(n.LOSS_SPANS_REJECTED, rejected, f"the collector {what}: {message}")
        else:
            LOSSES.recovered(n.LOSS_SPANS_REJECTED)
        return not rejected


def give_up() -> None:
    """Count what this process has not exported by now as lost: it ends."""
    left = SPANS.here.left
    if left:
        _lost(n.LOSS_SPANS, left, f"spans were not delivered in time: {ANSWERS.last}")


def _lost(reason: str, number: int, why: str) -> None:
    # A batch that was on its way at `give_up` is counted already.
    number = min(number, SPANS.here.left)
    SPANS.here.counted(number)
    LOSSES.count(reason, number, why=why)
