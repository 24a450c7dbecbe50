"""Spans that cross the pipe: read out in a worker, made again in the main process.

Most are untouched: the values that their attributes are made of cross. One that was
touched crosses as a whole, unless it is too large.
"""

# ruff: noqa: SLF001 - a span that has ended is filled in no other way
import marshal
from typing import Any, Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import Event
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import Link, Status, StatusCode

from huey_otel._otel.light import LightSpan, become_real, is_untouched
from huey_otel._wire.span import SpanEnd, packed, unpacked

_LARGEST: Final = 65_536
"""Bytes of a touched span that crosses the pipe."""

_MARSHAL: Final = 2


def end_of(span: LightSpan) -> tuple[Any, ...] | None:
    """What *span*, which has ended, ends with; None if it cannot cross."""
    at: Any = span._end_time
    # Read first: another thread may touch the span now, and it is gone then.
    ending = getattr(span, "_huey_otel_end", None)
    if is_untouched(span):
        said = None
        if ending is not None:
            _, (outcome, _, when) = ending
            said = outcome, when
        return tuple(SpanEnd(at, said, None))
    end = tuple(SpanEnd(at, None, _whole(span)))
    try:
        size = len(marshal.dumps(end, _MARSHAL))
    except ValueError:
        # An attribute of a type that OpenTelemetry takes and marshal does not.
        return None
    return end if size <= _LARGEST else None


def _whole(span: LightSpan) -> tuple[Any, ...]:
    return (
        span.name,
        dict(span.attributes or {}),
        [(one.name, one.timestamp, *_said_by(one)) for one in span.events],
        [(packed(one.context), *_said_by(one)) for one in span.links],
        (span.status.status_code.value, span.status.description),
        (span.dropped_attributes, span.dropped_events, span.dropped_links),
    )


def _said_by(thing: Event | Link) -> tuple[dict[str, Any], int]:
    return dict(thing.attributes or {}), thing.dropped_attributes


def filled(span: Any, end: SpanEnd) -> Any:
    """*span*, made again from its start, with all that it had in the worker."""
    assert end.whole is not None  # noqa: S101 - for the type checker
    name, attributes, events, links, (code, description), dropped = end.whole
    of_span, of_events, of_links = dropped
    become_real(span)
    real = span
    real._name = name
    real._attributes = _bounded(attributes, of_span)
    real._events = _listed(
        [Event(name, _bounded(*said), at) for name, at, *said in events], of_events
    )
    real._links = _listed(
        [Link(unpacked(ids), _bounded(*said)) for ids, *said in links], of_links
    )
    real._status = Status(StatusCode(code), description)
    real._end_time = end.at
    return real._readable_span()


def _bounded(attributes: dict[str, Any], dropped: int) -> BoundedAttributes:
    bounded = BoundedAttributes(attributes=attributes)
    bounded.dropped = dropped
    return bounded


def _listed(items: list[Any], dropped: int) -> Any:
    listed = BoundedList.from_seq(None, items)
    listed.dropped = dropped
    return listed
