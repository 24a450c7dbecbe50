"""Repair: spans that OTLP's encoder refuses, so that they cost no other span.

The application's own spans leave through our exporter too. The encoder gives up a
whole batch for one name that is not UTF-8, or one time before 1970.
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

_LATEST: Final = 2**64 - 1
_ENCODER: Final = logging.getLogger(
    "opentelemetry.exporter.otlp.proto.common._internal"
)
_strict = threading.local()


class UnencodableError(Exception):
    """An attribute of a span cannot be encoded."""


def _raise_if_strict(_record: logging.LogRecord) -> bool:
    """Raise instead of logging: the encoder logs only when it drops an attribute."""
    if getattr(_strict, "on", False):
        # Without the record's text, which no log may be able to write.
        raise UnencodableError("an attribute cannot be encoded")
    return True


_ENCODER.addFilter(_raise_if_strict)


@contextmanager
def strict_encoding() -> Iterator[None]:
    """Make OTLP's encoder raise on this thread where it would omit an attribute."""
    # `logging.config` disables the loggers that exist when an application calls it.
    _ENCODER.disabled = False
    _strict.on = True
    try:
        yield
    finally:
        _strict.on = False


def repaired(spans: Sequence[ReadableSpan]) -> list[ReadableSpan] | None:
    """*spans* so that they can be encoded, without those that never can be.

    None if all of them can be encoded: the batch has failed for another reason.
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
    """The class of the error that encoding *span* raises, None if it raises none."""

    def encode() -> str | None:
        with strict_encoding():
            encode_spans([span])
        return None

    return or_else(encode, class_name)


def _mended(span: ReadableSpan) -> ReadableSpan:
    status = span.status
    return ReadableSpan(
        name=_text(span.name),
        context=span.context,
        parent=span.parent,
        resource=encodable_resource(span.resource),
        attributes=_attributes(span.attributes),
        events=[
            Event(_text(one.name), _attributes(one.attributes), _time(one.timestamp))
            for one in span.events
        ],
        links=[Link(one.context, _attributes(one.attributes)) for one in span.links],
        kind=_kind(span.kind),
        instrumentation_scope=_scope(span.instrumentation_scope),
        status=Status(
            status.status_code, status.description and _text(status.description)
        ),
        start_time=_time(span.start_time),
        end_time=_time(span.end_time),
    )


def encodable_resource(resource: Resource) -> Resource:
    """*resource* so that it can be encoded; the environment may hold any bytes."""
    attributes = _attributes(resource.attributes)
    if attributes == dict(resource.attributes):
        return resource
    return Resource(attributes, resource.schema_url)


def _attributes(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    mended = ((_text(key), _value(one)) for key, one in (attributes or {}).items())
    return {key: value for key, value in mended if value is not None}


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
    version = scope.version and _text(scope.version)
    return InstrumentationScope(_text(scope.name), version)


def _kind(kind: object) -> SpanKind:
    return kind if isinstance(kind, SpanKind) else SpanKind.INTERNAL


def _time(nanoseconds: int | None) -> int | None:
    return None if nanoseconds is None else min(max(int(nanoseconds), 0), _LATEST)
