"""The carrier: what a producer tells the worker about one message, in its trailer.

huey's messages have no headers. pickle stops at its STOP opcode, so bytes
behind it are invisible to a huey without us. Ours are JSON, then numbers, the
length of the JSON, a version and a magic. The usual message has no JSON.
"""

import json
import math
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from huey_otel._wire import traceparent
from huey_otel._wire.traceparent import Ids

_MAGIC: Final = b"hotl"
_VERSION: Final = 2
_END: Final = struct.Struct("<ddIIQQQBI4s")
"""When it was enqueued and is due (NaN: at once), the attempt and the hops.

Then the trace (its upper half first), the span and the flags of `parent`, zeros if
there is none; the length of the JSON in three bytes, the version in the fourth, and
the magic.
"""

_SIZE: Final = _END.size
_LENGTH: Final = 0xFFFFFF
_VERSION_AT: Final = 24
LARGEST: Final = 8_192
"""Bytes of JSON: more are neither written nor read."""

LONGEST: Final = LARGEST + _SIZE
"""Bytes of a trailer."""

_TOO_MANY: Final = 2**31
_LATEST: Final = 253_402_300_800.0
"""The end of the year 9999, in Unix seconds."""
_EARLIEST: Final = -_LATEST

_HALF: Final = 64
_LOWER: Final = 2**64 - 1


class TrailerError(ValueError):
    """A trailer that is ours by its magic, but cannot be read."""


class Carrier(NamedTuple):
    """The context and times that a producer adds to a message of the queue.

    `enqueued` and `eta` are Unix seconds, `eta` None for a task that is due
    at once. `parent` is the span that enqueued it, if nothing else is propagated;
    otherwise `headers` has all that is. Neither is changed by a requeue.
    `previous` is the traceparent of the attempt before. A chord's callback has
    the traceparents of some `members`; the chord had `chord_size` of them.
    """

    enqueued: float
    eta: float | None = None
    attempt: int = 1
    parent: Ids | None = None
    headers: Mapping[str, str] = {}
    previous: str | None = None
    hops: int = 0
    members: tuple[str, ...] = ()
    chord_size: int = 0

    def carrying(
        self, parent: Ids | None, headers: Mapping[str, str], enqueued: float
    ) -> "Carrier":
        """The same with these; a third of the time of `_replace`."""
        _, eta, attempt, _, _, previous, hops, members, size = self
        return carrier_of(
            (enqueued, eta, attempt, parent, headers, previous, hops, members, size)
        )

    @property
    def texts(self) -> Mapping[str, str]:
        """All that is propagated, as headers."""
        if self.parent is None:
            return self.headers
        return {traceparent.HEADER: traceparent.written(*self.parent)}


carrier_of: Final[Callable[[tuple[Any, ...]], Carrier]] = partial(
    tuple.__new__, Carrier
)
"""Makes a Carrier of all its fields without a call in Python: every task needs some."""


def encode(carrier: Carrier) -> bytes:
    """Write *carrier* as a trailer; if it is too long, without members, then headers.

    Raises ValueError for a time that is no number.
    """
    enqueued, eta, attempt, parent, headers, previous, hops, members, size = carrier
    due = math.nan if eta is None else eta
    if not math.isfinite(enqueued) or (eta is not None and not math.isfinite(eta)):
        raise ValueError(f"a carrier of {enqueued!r} and {eta!r}: expected seconds")
    body = b""
    if headers or previous is not None or size:
        texts = [dict(headers), previous, size, members]
        text = json.dumps(texts, separators=(",", ":"), ensure_ascii=False)
        body = text.encode("utf-8", "backslashreplace")
    length = len(body)
    if length > LARGEST:
        less = carrier._replace(members=(), headers=headers if members else {})
        return encode(less)
    trace_id, span_id, flags = (0, 0, 0) if parent is None else parent
    upper, lower = trace_id >> _HALF, trace_id & _LOWER
    packed = length | _VERSION << _VERSION_AT
    return body + _END.pack(
        enqueued, due, attempt, hops, upper, lower, span_id, flags, packed, _MAGIC
    )


def without_trailer(message: bytes) -> bytes:
    """*message*, which has a trailer, without that."""
    end = len(message) - _SIZE
    *_, packed, _ = _END.unpack_from(message, end)
    return message[: end - (packed & _LENGTH)]


def decode(message: bytes) -> Carrier | None:
    """Read the trailer of *message*, None when it has none.

    Raises TrailerError for one that is damaged, too large, or of a version
    that we do not know.
    """
    end = len(message) - _SIZE
    if end < 0 or not message.endswith(_MAGIC):
        return None
    enqueued, due, attempt, hops, upper, lower, span_id, flags, packed, _ = (
        _END.unpack_from(message, end)
    )
    if packed >> _VERSION_AT != _VERSION:
        version = packed >> _VERSION_AT
        raise TrailerError(f"trailer of version {version}, known is {_VERSION}")
    length = packed & _LENGTH
    if length > LARGEST or length > end:
        raise TrailerError(f"trailer of {length} bytes, at most {LARGEST} are read")
    eta = due if due == due else None
    if (
        not _EARLIEST <= enqueued <= _LATEST
        or not 0 < attempt < _TOO_MANY
        or hops >= _TOO_MANY
        or (eta is not None and not math.isfinite(eta))
    ):
        raise TrailerError("trailer with numbers that no message has")
    parent = None
    trace_id = upper << _HALF | lower
    if trace_id and span_id:
        parent = trace_id, span_id, flags
    if not length:
        return carrier_of((enqueued, eta, attempt, parent, {}, None, hops, (), 0))
    headers, previous, size, members = _texts(message[end - length : end])
    return carrier_of(
        (enqueued, eta, attempt, parent, headers, previous, hops, members, size)
    )


def _texts(body: bytes) -> tuple[dict[str, str], str | None, int, tuple[str, ...]]:
    """The headers, the attempt before, and the size and the members of a chord."""
    try:
        values = json.loads(body.decode())
    except (ValueError, OverflowError, RecursionError) as error:
        raise TrailerError(f"trailer that cannot be read: {error}") from None
    match values:
        case [
            dict(headers),
            str() | None as previous,
            int(size),
            [*members],
            *_,
        ] if 0 <= size < _TOO_MANY and _are_strings([*headers.values(), *members]):
            return headers, previous, int(size), tuple(members)
    raise TrailerError(f"trailer whose JSON is not that of version {_VERSION}")


def _are_strings(values: Iterable[object]) -> bool:
    for value in values:  # noqa: SIM110 - `all` makes a generator, four times as slow
        if type(value) is not str:
            return False
    return True
