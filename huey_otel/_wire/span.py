"""The start of an attempt's span: what the span of a dead worker's attempt needs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState

from huey_otel._safety import encodable


class SpanStart(NamedTuple):
    """What a span knows beside a record's facts; most spans have nothing of it.

    `state` is the span's tracestate as W3C writes it. `links` are plain tuples, see
    `links_of`. `wait` in seconds is filled in by the reader of the record.
    """

    priority: Any = None
    state: str = ""
    links: tuple[tuple[Any, ...], ...] = ()
    wait: float | None = None


def start_of(
    ids: SpanContext, links: Sequence[Link], priority: Any
) -> tuple[Any, ...] | None:
    """A SpanStart as a plain tuple, None if there is nothing in it."""
    if priority is None and not links and not ids.trace_state:
        return None
    return tuple(
        SpanStart(
            encodable.number(priority),
            ids.trace_state.to_header(),
            tuple(_packed(one) for one in links),
        )
    )


def _packed(link: Link) -> tuple[Any, ...]:
    ids = link.context
    return (
        ids.trace_id,
        ids.span_id,
        int(ids.trace_flags),
        ids.trace_state.to_header(),
        dict(link.attributes) if link.attributes else None,
    )


def links_of(start: SpanStart) -> list[Link]:
    """The links of *start*, to spans of other processes."""
    return [
        Link(
            SpanContext(
                trace_id,
                span_id,
                is_remote=True,
                trace_flags=TraceFlags(flags),
                trace_state=state_of(state),
            ),
            attributes,
        )
        for trace_id, span_id, flags, state, attributes in start.links
    ]


def state_of(header: str) -> TraceState | None:
    """Read a tracestate, None if it is empty."""
    return TraceState.from_header([header]) if header else None
