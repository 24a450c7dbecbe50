"""OTLP's encoding of light spans, straight into bytes.

The SDK's encoder makes several protobuf objects for each attribute, and that takes most
of the time of an export. A light span that has attributes and nothing else is encoded
here without them. The SDK's encoder gets all other spans, and the first light span of
each resource and scope in a request: so it alone encodes resources and scopes.
"""

# ruff: noqa: SLF001 - what is kept with a light span
from collections.abc import Callable, Sequence
from functools import partial
from inspect import getattr_static
from struct import Struct
from types import FunctionType
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from huey_otel._otel.light import LightSpan, Told
from huey_otel._safety.timeout import or_else

_NAME: Final = trace_encoder.encode_spans.__name__
_OTLP: Final = "opentelemetry.exporter.otlp.proto."
_MOST_KEYS: Final = 1_000


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


# Tags are the number of a field and the type of what follows, as in OpenTelemetry's
# trace.proto: 0x0a is field 1, and a length follows.
_SIZES: Final = tuple(map(_varint, range(1 << 14)))
"""Lengths. A text that is longer raises IndexError: it is for the SDK's encoder."""
_KINDS: Final = {
    kind: bytes((0x30, Span.SpanKind.Value(f"SPAN_KIND_{kind.name}")))
    for kind in SpanKind
}
_TIMES: Final = Struct("<BQBQ").pack
_DOUBLE: Final = Struct("<2sBd").pack
_TRUE, _FALSE = b"\x12\x02\x10\x01", b"\x12\x02\x10\x00"
# No status is said, and of the flags only whether the parent is of another process.
_END: Final = b"\x7a\x00\x85\x01\x00\x01\x00\x00"
_END_REMOTE: Final = b"\x7a\x00\x85\x01\x00\x03\x00\x00"
_INT_64: Final = range(-(1 << 63), 1 << 63)

_keys: Final[dict[str, bytes]] = {}


def encode_spans(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """The request that the SDK's `encode_spans` makes; spans may be in another order.

    Raises what that raises for a span which it cannot encode.
    """
    whole: list[ReadableSpan] = []
    light: dict[tuple[int, int], tuple[ReadableSpan, bytes, list[bytes]]] = {}
    for span in spans:
        encoded = light_bytes(span)
        if encoded is None:
            whole.append(span)
            continue
        data, told = encoded
        origin = id(told.resource), id(told.scope)
        if origin in light:
            light[origin][-1].append(b"\x12%b%b" % (_varint(len(data)), data))
        else:
            light[origin] = span, data, []
    request = trace_encoder.encode_spans(whole)
    for first, data, others in light.values():
        (own,) = trace_encoder.encode_spans([first]).resource_spans
        if Span.FromString(data) != own.scope_spans[0].spans[0]:
            # The SDK's encoder says more than it did up to 1.45.
            return trace_encoder.encode_spans(spans)
        own.scope_spans[0].MergeFromString(b"".join(others))
        request.resource_spans.append(own)
    return request


def light_bytes(span: ReadableSpan) -> tuple[bytes, Told] | None:
    """The encoded *span* and what it says; None if it is for the SDK's encoder."""
    if type(span) is not LightSpan:
        return None
    return or_else(partial(_encoded, span), lambda _: None)


def _encoded(span: LightSpan) -> tuple[bytes, Told] | None:
    known: tuple[bytes, Told] | None = span._huey_otel_bytes
    if known is not None:
        return known
    told = span.told()
    if told is None:
        return None
    name, attributes, ids, parent, kind, began, ended, _, _ = told
    trace_id, span_id, _, _, state, _ = ids
    text = name.encode()
    parts = [
        b"\x0a\x10",
        trace_id.to_bytes(16, "big"),
        b"\x12\x08",
        span_id.to_bytes(8, "big"),
        b"\x2a",
        _SIZES[len(text)],
        text,
        _KINDS[kind],
        _TIMES(0x39, began, 0x41, ended),
    ]
    add = parts.append
    if state:
        text = ",".join(f"{key}={value}" for key, value in state.items()).encode()
        add(b"\x1a%b%b" % (_SIZES[len(text)], text))
    if parent is not None:
        add(b"\x22\x08%b" % parent.span_id.to_bytes(8, "big"))
    for key, value in attributes.items():
        begin = _keys.get(key) or _key(key)
        end = _value(value)
        add(b"\x4a%b%b%b" % (_SIZES[len(begin) + len(end)], begin, end))
    add(_END_REMOTE if parent is not None and parent.is_remote else _END)
    span._huey_otel_bytes = made = b"".join(parts), told
    return made


def _key(key: str) -> bytes:
    if not key:
        raise ValueError("the SDK drops an attribute without a key")
    if len(_keys) >= _MOST_KEYS:
        # A sampler may make new ones without end.
        _keys.clear()
    text = key.encode()
    _keys[key] = made = b"\x0a%b%b" % (_SIZES[len(text)], text)
    return made


def _value(value: Any) -> bytes:
    kind = type(value)
    if kind is str:
        text = value.encode()
        size = _SIZES[len(text)]
        return b"\x12%b\x0a%b%b" % (_SIZES[len(text) + 1 + len(size)], size, text)
    if kind is float:
        return _DOUBLE(b"\x12\x09", 0x21, value)
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is int and value in _INT_64:
        number = _varint(value % (1 << 64))
        return b"\x12%b\x18%b" % (_SIZES[len(number) + 1], number)
    raise TypeError("for the SDK's encoder")


def with_light_encoder(exporter: Any) -> Any:
    """*exporter*, which encodes by `encode_spans` of here if it is one of OTLP's.

    Its methods that call the SDK's `encode_spans` (1.30 to 1.45: one, by a global name)
    are copied with another value of that name. Where none does, nothing is changed.
    """
    kind = type(exporter)
    for name in dir(kind):
        method = getattr_static(kind, name)
        if _calls_encoder(method):
            setattr(exporter, name, _unless_replaced(exporter, name, method))
    return exporter


def _unless_replaced(
    exporter: Any, name: str, method: FunctionType
) -> Callable[..., Any]:
    """What calls a copy of *method*, until the class of *exporter* has another one."""
    kind, copied = type(exporter), _copied(method)

    def call(*args: Any, **kwargs: Any) -> Any:
        if getattr_static(kind, name) is method:
            return copied(exporter, *args, **kwargs)
        # A library has replaced it in the class.
        vars(exporter).pop(name, None)
        return getattr(exporter, name)(*args, **kwargs)

    return call


def _calls_encoder(method: object) -> bool:
    # Not a method of another vendor, who may assign to the globals that it reads.
    return (
        type(method) is FunctionType
        and str(method.__module__).startswith(_OTLP)
        and _NAME in method.__code__.co_names
        and method.__globals__.get(_NAME) is trace_encoder.encode_spans
    )


def _copied(method: FunctionType) -> Callable[..., Any]:
    copied = FunctionType(
        method.__code__,
        {**method.__globals__, _NAME: encode_spans},
        method.__name__,
        method.__defaults__,
        method.__closure__,
    )
    copied.__kwdefaults__ = method.__kwdefaults__
    return copied
