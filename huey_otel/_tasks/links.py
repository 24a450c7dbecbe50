"""Links: what a message says of spans that are no parents of its attempt."""

from typing import Final

from opentelemetry import trace
from opentelemetry.trace import Link, Span

from huey_otel import _names as n
from huey_otel._tasks.w3c import read, traceparent
from huey_otel._wire.carrier import Carrier

MOST_MEMBERS: Final = 32
"""Members that a chord's callback is linked to: the SDK keeps 128 links of a span."""


def named(span: Span | None) -> str | None:
    """*span* as W3C writes it, for a link to it; None if it has no id."""
    ids = trace.INVALID_SPAN_CONTEXT if span is None else span.get_span_context()
    return traceparent(ids) if ids.is_valid else None


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


def _link(text: str, kind: str) -> list[Link]:
    """The link to *text*, a traceparent; none for what is no such thing."""
    ids = read(text)
    return [] if ids is None else [Link(ids, {n.LINK_KIND: kind})]
