"""The queue of spans that wait for their export; what does not fit is counted."""

from collections import deque
from typing import Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from huey_otel import _names as n
from huey_otel._otel.span_counts import SPANS
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import UNCUT

_PLACES: Final = (("_batch_processor", "_queue"), ("", "queue"))
"""Where the SDK has its queue, from 1.34 on and up to 1.33."""


class SpanQueue(deque[ReadableSpan]):
    """A queue that counts each span that it drops.

    A deque that is full drops its oldest item without a word, so that with several
    threads it cannot be told whether it did. `insert` refuses instead, and then one of
    those that wait is replaced, the oldest first: a single call into C each.
    """

    _next = 0

    def appendleft(self, span: ReadableSpan, /) -> None:
        """Take *span* in."""
        while True:
            try:
                self.insert(0, span)
            except IndexError:
                pass
            else:
                return
            self._next += 1
            try:
                self[-self._next] = span
            except IndexError:
                # The exporter has taken some meanwhile, or all were replaced.
                self._next = 0
                continue
            SPANS.here.counted(1)
            why = f"more spans end than can be exported, and {self.maxlen} wait already"
            LOSSES.count(n.LOSS_SPANS_QUEUE_FULL, why=why)
            return

    def pop(self) -> ReadableSpan:  # type: ignore[override]
        """Take the oldest out."""
        span = super().pop()
        self._next = 0
        if not self:
            # All that waited is taken.
            LOSSES.recovered(n.LOSS_SPANS_QUEUE_FULL)
        return span


class CountingProcessor(BatchSpanProcessor):
    """Counts the spans that end, and those that the SDK drops.

    Reads nothing of a span but its context: a task's thread ends it.
    """

    _over = False

    def __init__(self, exporter: Any) -> None:
        super().__init__(exporter)
        for owner, name in _PLACES:
            holder = getattr(self, owner, None) if owner else self
            queue = getattr(holder, name, None)
            if type(queue) is deque:
                setattr(holder, name, SpanQueue(queue, queue.maxlen))

    def on_end(self, span: ReadableSpan) -> None:
        """Count *span* if it is one to export."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        # First: an interrupt after it leaves a span that never is exported, and so
        # is lost.
        next(SPANS.here.ended)
        if self._over:
            SPANS.here.counted(1)
            LOSSES.count(n.LOSS_SPANS, why="the tracer provider was shut down before")
        else:
            super().on_end(span)

    def shutdown(self) -> None:
        """Export what waits; spans that end later are lost."""
        self._over = True
        super().shutdown()  # type: ignore[no-untyped-call]


# A task's timeout between the count and the queue would lose the span.
UNCUT.add(CountingProcessor.on_end.__code__)
