"""The spans that a test makes, kept in memory."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import (
    ReadableSpan,
    SpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.trace import SpanContext

Tree = dict[str, Any]


class Kept(SpanProcessor):
    """The SDK's SimpleSpanProcessor would swallow a task's timeout."""

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


class Spans:
    """A tracer provider and the spans that ended with it, found by name."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._kept = Kept()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(self._kept)
        self.tracer = self.provider.get_tracer("tests")

    @property
    def all(self) -> list[ReadableSpan]:
        """All ended spans, in the order of their start."""
        return sorted(self._kept.ended, key=lambda s: s.start_time)

    @property
    def names(self) -> list[str]:
        return [short(span) for span in self.all]

    def named(self, name: str) -> list[ReadableSpan]:
        """All spans of that name, without the path of the task's module."""
        return [span for span in self.all if short(span) == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def clear(self) -> None:
        self._kept.ended.clear()

    @property
    def trees(self) -> list[Tree]:
        """Each span's name with those of its children, from the roots on."""
        known = {span.context.span_id for span in self.all}
        return [
            self._tree(span)
            for span in self.all
            if span.parent is None or span.parent.span_id not in known
        ]

    def _tree(self, span: ReadableSpan) -> Tree:
        children: Tree = {}
        for child in self.all:
            if (
                child.parent is not None
                and child.parent.span_id == span.context.span_id
            ):
                for name, below in self._tree(child).items():
                    children[_free(name, children)] = below
        return {short(span): children}


def short(span: ReadableSpan) -> str:
    operation, _, path = span.name.partition(" ")
    return f"{operation} {path.rpartition('.')[2]}" if path else operation


def _free(name: str, taken: Tree) -> str:
    while name in taken:
        name += "'"
    return name


def linked(span: ReadableSpan) -> list[SpanContext]:
    """The contexts that *span* links to, all as if they were local."""
    return [plain(link.context) for link in span.links]


def plain(context: SpanContext) -> SpanContext:
    return SpanContext(
        context.trace_id,
        context.span_id,
        is_remote=False,
        trace_flags=context.trace_flags,
    )


def traces(spans: Sequence[ReadableSpan]) -> set[int]:
    return {span.context.trace_id for span in spans}
