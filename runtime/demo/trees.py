"""A trace among received spans: which one tells most, and how it branches."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from runtime.otlp_receiver import Span

CHARGE = "runtime.shop.tasks.charge_card"
RECEIPT = "runtime.shop.tasks.send_receipt"


def best(spans: Iterable[Span]) -> list[Span]:
    """Choose the trace of a card that was charged again, and then of a receipt.

    The latest of those; else one that comes close. Without spans it is empty.
    """
    traces: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span.trace_id].append(span)
    return max(traces.values(), key=_worth, default=[])


def branches(trace: Sequence[Span]) -> Iterator[tuple[str, Span]]:
    """Give each span with the lines that lead to it, parents before children."""
    known = {span.span_id for span in trace}
    children: defaultdict[str | None, list[Span]] = defaultdict(list)
    for span in sorted(trace, key=lambda span: span.start):
        children[span.parent_id if span.parent_id in known else None].append(span)

    def below(parent: str | None, lines: str) -> Iterator[tuple[str, Span]]:
        for span in children[parent]:
            last = span is children[parent][-1]
            corner = "" if parent is None else "└─ " if last else "├─ "
            yield lines + corner, span
            bar = "" if parent is None else "   " if last else "│  "
            yield from below(span.span_id, lines + bar)

    return below(None, "")


def is_attempt(span: Span) -> bool:
    """Tell whether *span* is a task's attempt."""
    return span.attributes.get("messaging.operation.name") == "process"


def _worth(trace: Sequence[Span]) -> tuple[bool, bool, int, int]:
    attempts = Counter(
        span.attributes.get("huey.task.name") for span in trace if is_attempt(span)
    )
    start = min(span.start for span in trace)
    return attempts[RECEIPT] > 0, attempts[CHARGE] > 1, len(trace), start
