"""Links, and W3C trace context: the spans that a message names, as text."""

import re
from typing import Final

from opentelemetry import trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Link, Span, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from huey_otel import _names as n
from huey_otel._wire.carrier import Carrier

TRACEPARENT: Final = "traceparent"

MOST_MEMBERS: Final = 32
"""Members that a chord's callback is linked to: the SDK keeps 128 links of a span."""

_DEFAULT: Final = [TraceContextTextMapPropagator, W3CBaggagePropagator]
_FLAGS: Final = tuple(map(TraceFlags, range(256)))
_parted = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch


def traceparent(ids: SpanContext) -> str:
    """*ids* as the header of version 00."""
    return f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"


def read(text: str) -> SpanContext | None:
    """The ids that *text* has, None if it is no valid header of version 00."""
    parts = _parted(text)
    if parts is None:
        return None
    trace_id, span_id, flags = parts.groups()
    ids = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=_FLAGS[int(flags, 16)],
    )
    return ids if ids.is_valid else None


class _Asked:
    """The propagator of the last call of `is_default`, and the answer."""

    textmap: TextMapPropagator | None = None
    is_default = False


def is_default(textmap: TextMapPropagator) -> bool:
    """Whether *textmap* is opentelemetry's default: trace context, then baggage.

    Where a message has a traceparent alone, reading and writing it ourselves takes a
    third of the propagators' time, which would be half of all that an attempt that is
    not sampled may cost.
    """
    if textmap is not _Asked.textmap:
        parts = getattr(textmap, "_propagators", ())
        _Asked.is_default = (
            type(textmap) is CompositePropagator and [*map(type, parts)] == _DEFAULT
        )
        _Asked.textmap = textmap
    return _Asked.is_default


def named(span: Span | None) -> str | None:
    """*span* as W3C writes it, for a link to it; None if it has no id."""
    ids = trace.INVALID_SPAN_CONTEXT if span is None else span.get_span_context()
    return traceparent(ids) if ids.is_valid else None


def some(members: list[str]) -> tuple[str, ...]:
    """At most MOST_MEMBERS of *members*, from both ends."""
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
    """The link to *text*, a traceparent; none if it is not valid."""
    ids = read(text)
    return [] if ids is None else [Link(ids, {n.LINK_KIND: kind})]
