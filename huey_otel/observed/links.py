"""Links: what a message says of spans that are no parents of its attempt."""

from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, TraceFlags

from huey_otel import _names as n
from huey_otel._carrier import Carrier

MOST_MEMBERS: Final = 32
"""Members that a chord's callback is linked to: the SDK keeps 128 links of a span."""


def traceparent(span: Span | None) -> str | None:
    """*span* as W3C writes it, for a link to it; None if it has no id."""
    ids = trace.INVALID_SPAN_CONTEXT if span is None else span.get_span_context()
    if not ids.is_valid:
        return None
    return (
        f"00-{trace.format_trace_id(ids.trace_id)}"
        f"-{trace.format_span_id(ids.span_id)}-{ids.trace_flags:02x}"
    )


def some(members: list[str]) -> tuple[str, ...]:
    """The first and the last of *members*, so many as one may have."""
    if len(members) <= MOST_MEMBERS:
        return tuple(members)
    half = MOST_MEMBERS // 2
    return (*members[:half], *members[-half:])


def links_of(carrier: Carrier | None) -> list[Link]:
    """To the attempt before, and to the members of the chord it is the callback of."""
    if carrier is None:
        return []
    links = [] if carrier.previous is None else _link(carrier.previous, n.LINK_RETRY)
    for member in carrier.members:
        links += _link(member, n.LINK_MEMBER)
    return links


def span_of(text: str) -> SpanContext | None:
    """The span of *text*, a traceparent; None for what is no such thing."""
    try:
        _, trace_id, span_id, flags = text.split("-")
        ids = SpanContext(
            int(trace_id, 16),
            int(span_id, 16),
            is_remote=True,
            trace_flags=TraceFlags(int(flags, 16)),
        )
    except ValueError:
        return None
    return ids if ids.is_valid else None


def _link(text: str, kind: str) -> list[Link]:
    ids = span_of(text)
    return [] if ids is None else [Link(ids, {n.LINK_KIND: kind})]
