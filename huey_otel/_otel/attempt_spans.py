"""The spans of attempts in forked workers, made by the consumer's main process."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._otel.attributes import Operation
from huey_otel._otel.provider import ResolvedProvider
from huey_otel._otel.spans import ROOT, Say, close, with_parent
from huey_otel._wire.record import Record, Source
from huey_otel._wire.span import (
    SpanEnd,
    SpanLeft,
    SpanStart,
    unpacked,
    unpacked_links,
)
from huey_otel.events import EVENT_LOST, EVENT_STARTED

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource


_MOST_WORKERS: Final = 1_000


class AttemptSpans:
    """A sink that makes the spans which workers did not export themselves.

    Those are of workers with light spans, and of workers that died with a span open. A
    provider that gives no light spans chooses ids itself: a span of a dead worker is
    then a new one in the same trace, with a link to the old one.
    """

    def __init__(
        self,
        provider: Callable[[], ResolvedProvider],
        operation: Operation,
        conclude: Say,
    ) -> None:
        self._provider = provider
        self._operation = operation
        self._conclude = conclude
        self._resources: dict[int, Resource] = {}

    def __call__(self, record: Record, source: Source) -> None:
        if record.start is None or record.facts is None:
            return
        if record.status == EVENT_STARTED:
            start = None if len(record.start) == 1 else SpanStart(*record.start)
            if start is not None and start.resource is not None:
                from opentelemetry.sdk.resources import Resource

                self._resources[record.pid] = Resource(*start.resource)
                if len(self._resources) > _MOST_WORKERS:
                    del self._resources[next(iter(self._resources))]
        elif record.status in (EVENT_LOST, mapping.ENDED) or mapping.closes(
            record.extra
        ):
            self._make(record, SpanLeft(*record.start))

    def _make(self, record: Record, left: SpanLeft) -> None:
        if len(left.start) == 1:
            # It is of a thread of this process, which ends.
            (own,) = left.start
            if record.status == EVENT_LOST:
                self._end(record, left, own)
            else:
                close(own, int(record.timestamp * 1e9))
            return
        start = SpanStart(*left.start)
        resolved = self._provider()
        light = resolved.exact
        if light is None:
            span = self._linked(record, start, resolved)
        else:
            span = light.again(
                start,
                self._operation.described,
                record.facts,
                self._resources.get(record.pid),
            )
        if left.end is not None:
            end = SpanEnd(*left.end)
            if end.whole is not None:
                from huey_otel._otel.crossing import filled

                light.deliver(filled(span, end))
            elif end.said is None:
                close(span, end.at)
            else:
                outcome, at = end.said
                close(span, end.at, self._conclude, outcome, left.failure, at)
        else:
            self._end(record, left, span)

    def _end(self, record: Record, left: SpanLeft, span: Span) -> None:
        """End *span*, of which the worker could tell no end."""
        at = int(record.timestamp * 1e9)
        extra = record.extra or {}
        lost = record.status == EVENT_LOST
        outcome = n.OUTCOME_LOST if lost else extra.get("outcome") or ""
        if left.failure is None and outcome in mapping.FAILURES:
            why = "the worker died" if lost else None
            close(span, at, _cut, outcome, extra.get("exception"), why)
        else:
            close(span, at, self._conclude, outcome, left.failure, at)

    def _linked(
        self, record: Record, start: SpanStart, resolved: ResolvedProvider
    ) -> Span:
        own = unpacked(start.ids)
        parent = own if start.parent is None else unpacked(start.parent)
        name, attributes = self._operation.described(record.facts or (), *start.values)
        return resolved.tracer.start_span(
            name,
            context=with_parent(parent, ROOT),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=[Link(own), *unpacked_links(start.links)],
            start_time=start.began,
        )


def _cut(span: Span, outcome: str, exception: str | None, why: str | None) -> None:
    """Set on *span* that its attempt failed; no message and no traceback is known."""
    span.set_attribute(n.TASK_OUTCOME, outcome)
    span.set_attribute(n.ERROR_TYPE, exception or outcome)
    span.set_status(Status(StatusCode.ERROR, why))
