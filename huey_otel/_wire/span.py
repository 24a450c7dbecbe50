"""The span of an attempt, as it crosses the pipe from a worker to the main process.

All is in plain tuples. A record's field `start` has, of the same attempt:

- in `started`, a `SpanStart`, if its span is sampled;
- in later records, () or the message of the failure that the record tells of, while
  the main process has to make the span should the worker die now, else None;
- in the last one, a `SpanEnd` if the main process has to make the span, else None.

The in-flight table hands the sinks a `SpanLeft`, made of all these.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState

Packed = tuple[int, int, bool, int, str]
"""The ids of a span."""


class SpanStart(NamedTuple):
    """What a span begins with.

    `crosses` if the main process makes the span, and not only that of a dead worker.
    `values` follow the task's facts in what describes the span; `given` are all
    attributes, where a sampler has made them. `resource` is that of the worker, its
    attributes and its schema, until the main process knows it.
    """

    crosses: bool
    ids: Packed
    parent: Packed | None
    began: int
    values: tuple[Any, ...]
    links: tuple[tuple[Packed, dict[str, Any] | None], ...]
    given: dict[str, Any] | None
    resource: tuple[dict[str, Any], str] | None


class SpanEnd(NamedTuple):
    """What a span ends with: the time, and what was said, or all of a touched span.

    `said` is the outcome and when that was known. Times in nanoseconds.
    """

    at: int
    said: tuple[str, int] | None
    whole: tuple[Any, ...] | None


class SpanLeft(NamedTuple):
    """A span to be made: `end` is None if the worker could tell none.

    `failure` is the class, the message and the traceback of an exception.
    """

    start: tuple[Any, ...]
    end: tuple[Any, ...] | None = None
    failure: tuple[str, str | None, str | None] | None = None


def packed(ids: SpanContext) -> Packed:
    """*ids* in plain values."""
    trace_id, span_id, is_remote, flags, state, _ = ids
    return trace_id, span_id, is_remote, int(flags), state.to_header() if state else ""


def unpacked(ids: Packed) -> SpanContext:
    """The ids of a span, as they were."""
    trace_id, span_id, is_remote, flags, header = ids
    return SpanContext(
        trace_id,
        span_id,
        is_remote=is_remote,
        trace_flags=TraceFlags(flags),
        trace_state=TraceState.from_header([header]) if header else None,
    )


def packed_links(links: Sequence[Link]) -> tuple[Any, ...]:
    """*links* in plain values."""
    return tuple(
        (packed(one.context), dict(one.attributes) if one.attributes else None)
        for one in links
    )


def unpacked_links(links: Sequence[Any]) -> list[Link]:
    """The links, as they were."""
    return [Link(unpacked(ids), attributes) for ids, attributes in links]
