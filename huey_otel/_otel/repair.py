"""Repair: what of a batch cannot be encoded, so that it costs no other span.

An application's own spans leave through our exporter too, and OTLP's encoder gives
up a whole batch for a name that is not UTF-8, or a time before 1970.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanKind, Status

from huey_otel import _names as n
from huey_otel._otel.span_counts import SPANS
from huey_otel._safety import encodable
from huey_otel._safety.failures import class_name
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import or_else

_PAST: Final = 2**64
_NOBODY: Final = Resource({})


class UnencodableError(Exception):
    """An attribute of a span cannot be encoded."""


class _Strict(logging.Filter):
    """Raises where the encoder logs that it leaves an attribute out.

    It logs nothing else, and so an attribute that it can encode costs nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(self.here, "strict", False):
            # Without its text, which no log may be able to write.
            raise UnencodableError("an attribute cannot be encoded")
        return True


_ENCODER: Final = "opentelemetry.exporter.otlp.proto.common._internal"
_STRICT: Final = _Strict()
logging.getLogger(_ENCODER).addFilter(_STRICT)


@contextmanager
def strictly() -> Iterator[None]:
    """On this thread OTLP's encoder raises, and leaves no attribute out."""
    # Loggers that there are when an application sets up logging are often disabled.
    logging.getLogger(_ENCODER).disabled = False
    _STRICT.here.strict = True
    try:
        yield
    finally:
        _STRICT.here.strict = False


def repaired(spans: Sequence[ReadableSpan]) -> list[ReadableSpan] | None:
    """*spans* as they can be encoded, without those that cannot be at all.

    None where each of them can: the batch has failed for another reason.
    """
    good: list[ReadableSpan] = []
    changed = False
    for span in spans:
        if _why_not(span) is None:
            good.append(span)
            continue
        changed = True
        mended = or_else(partial(_mended, span), lambda _: None)
        why = "it cannot be read" if mended is None else _why_not(mended)
        if mended is not None and why is None:
            good.append(mended)
        else:
            SPANS.here.counted(1)
            why = f"a span cannot be encoded: {why}"
            LOSSES.count(n.LOSS_SPANS_UNENCODABLE, why=why)
    return good if changed else None


def _why_not(span: ReadableSpan) -> str | None:
    """The class of what keeps *span* from being encoded, None if nothing does."""

    def failed(error: Exception) -> str | None:
        return class_name(error)

    def tried() -> str | None:
        with strictly():
            encode_spans([_alone(span)])
        return None

    return or_else(tried, failed)


def _alone(span: ReadableSpan) -> ReadableSpan:
    """*span* without its resource, which is the same for all."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=_NOBODY,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
    )


def _mended(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=_text(span.name),
        context=span.context,
        parent=span.parent,
        resource=sayable(span.resource),
        attributes=_attributes(span.attributes),
        events=[
            Event(_text(one.name), _attributes(one.attributes), _time(one.timestamp))
            for one in span.events
        ],
        links=[Link(one.context, _attributes(one.attributes)) for one in span.links],
        kind=_kind(span.kind),
        instrumentation_scope=_scope(span.instrumentation_scope),
        status=_status(span.status),
        start_time=_time(span.start_time),
        end_time=_time(span.end_time),
    )


def sayable(resource: Resource) -> Resource:
    """*resource* as it can be encoded; the environment may have had any bytes."""
    attributes = _attributes(resource.attributes)
    if attributes == dict(resource.attributes):
        return resource
    return Resource(attributes, resource.schema_url)


def _attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    said = ((_text(key), _value(value)) for key, value in (attributes or {}).items())
    return {key: value for key, value in said if value is not None}


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | bytes | float):
        return value
    if isinstance(value, int):
        return encodable.number(value)
    if isinstance(value, Mapping):
        return _attributes(value)
    if isinstance(value, Iterable):
        return tuple(one for one in map(_value, value) if one is not None)
    return None


def _text(value: object) -> str:
    return encodable.text(value) if type(value) is str else encodable.name(value)


def _scope(scope: InstrumentationScope | None) -> InstrumentationScope | None:
    if scope is None:
        return None
    version = None if scope.version is None else _text(scope.version)
    return InstrumentationScope(_text(scope.name), version)


def _kind(kind: object) -> SpanKind:
    return kind if isinstance(kind, SpanKind) else SpanKind.INTERNAL


def _status(status: Status) -> Status:
    description = status.description
    return Status(
        status.status_code, None if description is None else _text(description)
    )


def _time(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else min(max(int(nanoseconds), 0), _PAST - 1)
