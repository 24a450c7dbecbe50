"""Batches of spans or log records, none of which is larger than a collector takes."""

import marshal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from opentelemetry._logs import LogRecord
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

from huey_otel._otel.encoder import light_bytes
from huey_otel._safety.timeout import or_else

T = TypeVar("T")

LARGEST: Final = 4 * 2**20
"""Bytes of a request that a gRPC server takes unless it is told to take more."""

# What OTLP's encoding (protobuf) takes beside the texts, at most: tags, lengths, ids.
_SPAN: Final = 256
_EVENT_OR_LINK: Final = 96
_ATTRIBUTE: Final = 32

_SMALL: Final = 4096
"""Bytes of attributes up to which a rough size is good enough."""


def batches(spans: Sequence[ReadableSpan]) -> Iterator[Sequence[ReadableSpan]]:
    """*spans* in batches under 4 MiB; a larger span comes last, and alone.

    Sizes are upper bounds, so that no span need be encoded twice.
    """
    origins: dict[int, int] = {}
    return _split(spans, lambda span: _size(span, origins))


def log_batches(records: Sequence[LogRecord]) -> Iterator[Sequence[LogRecord]]:
    """*records* in batches, as spans are."""
    return _split(records, _size_of_log)


def _split(items: Sequence[T], size_of: Callable[[T], int]) -> Iterator[Sequence[T]]:
    batch: list[T] = []
    alone: list[T] = []
    total = 0
    for item in items:
        # An item that cannot be read is sent alone, and found to be broken there.
        size = or_else(partial(size_of, item), lambda _: LARGEST)
        if size >= LARGEST:
            alone.append(item)
            continue
        total += size
        if total >= LARGEST:
            yield batch
            batch, total = [], size
        batch.append(item)
    if batch:
        yield batch
    for item in alone:
        yield [item]


def _size_of_log(record: LogRecord) -> int:
    """The bytes of *record*, at most."""
    texts = (record.body, record.event_name)
    return _SPAN + sum(map(_of, texts)) + _of_mapping(record.attributes)


def _size(span: ReadableSpan, origins: dict[int, int]) -> int:
    """The bytes of *span*, at most, as if no other one had its resource and scope."""
    encoded = light_bytes(span)
    if encoded is not None:
        data, told = encoded
        return len(data) + _of_origins(origins, told.resource, told.scope)
    size = _SPAN + _of_text(span.name) + _of_mapping(span.attributes)
    size += _of_text(span.status.description or "") + _of_context(span.context)
    for event in span.events:
        size += _EVENT_OR_LINK + _of_text(event.name) + _of_mapping(event.attributes)
    for link in span.links:
        size += (
            _EVENT_OR_LINK + _of_mapping(link.attributes) + _of_context(link.context)
        )
    return size + _of_origins(origins, span.resource, span.instrumentation_scope)


def _of_origins(known: dict[int, int], *origins: object) -> int:
    for origin in origins:
        if id(origin) not in known:
            known[id(origin)] = _of_origin(origin)
    return sum(known[id(origin)] for origin in origins)


def _of_context(context: SpanContext | None) -> int:
    state = context and context.trace_state
    return _of_text(state.to_header()) if state else 0


def _of_origin(origin: Any) -> int:
    if origin is None:
        return 0
    texts = (getattr(origin, name, None) for name in ("name", "version", "schema_url"))
    return _SPAN + sum(map(_of, texts)) + _of_mapping(origin.attributes)


def _of_mapping(attributes: Any) -> int:
    if not attributes:
        return 0
    try:
        # In C. Nothing takes four times as much in protobuf, but for what is added.
        roughly = 4 * len(marshal.dumps(attributes.copy(), 2))
    except (AttributeError, ValueError):
        # Another kind of mapping, or of text or number.
        roughly = _SMALL
    if roughly < _SMALL:
        return roughly + _ATTRIBUTE * len(attributes)
    return sum(_ATTRIBUTE + _of(key) + _of(one) for key, one in attributes.items())


def _of_text(text: str) -> int:
    if text.isascii():
        return len(text)
    # What cannot be encoded is written like this when it is repaired.
    return len(text.encode(errors="backslashreplace"))


def _of(value: Any) -> int:
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Mapping):
        return _of_mapping(value)
    if isinstance(value, Iterable):
        return sum(_ATTRIBUTE + _of(one) for one in value)
    return 0
