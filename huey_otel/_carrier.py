"""The carrier: what a producer tells the worker about one message, in its trailer.

huey's messages have no headers. pickle stops at its STOP opcode, so bytes
behind it are invisible to a huey without us; ours are a JSON array, its
length, a version and a magic.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

_MAGIC: Final = b"hotl"
_VERSION: Final = 1
_FOOTER: Final = 8
LARGEST: Final = 8_192
"""Bytes of JSON that are written at most, and read at most."""

_dumps = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False
).encode


class TrailerError(ValueError):
    """A trailer that is ours by its magic, and says nothing we can use."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """What rides in the queue message.

    `enqueued` and `eta` are Unix seconds, `eta` None for a task that is due
    at once. `headers` are the propagated ones, never changed by a requeue;
    `previous` is the attempt before, as a traceparent. A chord's callback has
    those of some `members`, of which there were `chord_size`.
    """

    enqueued: float
    eta: float | None = None
    attempt: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    previous: str | None = None
    hops: int = 0
    members: tuple[str, ...] = ()
    chord_size: int = 0


def encode(carrier: Carrier) -> bytes:
    """Write *carrier* as a trailer; what does not fit is left out, members first."""
    body = _body(carrier)
    if len(body) > LARGEST:
        body = _body(replace(carrier, members=()))
    if len(body) > LARGEST:
        body = _body(replace(carrier, members=(), headers={}))
    return (
        body + len(body).to_bytes(3, "little") + _VERSION.to_bytes(1, "little") + _MAGIC
    )


def _body(carrier: Carrier) -> bytes:
    fields: list[object] = [
        carrier.attempt,
        carrier.enqueued,
        carrier.eta,
        carrier.headers,
        carrier.previous,
        carrier.hops,
    ]
    if carrier.chord_size:
        fields.append([carrier.chord_size, *carrier.members])
    return _dumps(fields).encode("utf-8", "backslashreplace")


def opened(message: bytes) -> tuple[bytes, Carrier] | None:
    """Part *message* from its trailer, None when it has none."""
    carrier = decode(message)
    if carrier is None:
        return None
    length = int.from_bytes(message[-_FOOTER : 3 - _FOOTER], "little")
    return message[: -_FOOTER - length], carrier


def decode(message: bytes) -> Carrier | None:
    """Read the trailer of *message*, None when it has none.

    Raises TrailerError for one that is damaged, too large, or of a version
    that we do not know.
    """
    if message[-4:] != _MAGIC or len(message) < _FOOTER:
        return None
    footer = message[-_FOOTER:]
    length = int.from_bytes(footer[:3], "little")
    if footer[3] != _VERSION:
        raise TrailerError(f"trailer of version {footer[3]}, known is {_VERSION}")
    if length > LARGEST or length + _FOOTER > len(message):
        raise TrailerError(f"trailer of {length} bytes, at most {LARGEST} are read")
    try:
        return _checked(json.loads(message[-_FOOTER - length : -_FOOTER]))
    except TrailerError:
        raise
    except (ValueError, OverflowError, RecursionError) as error:
        raise TrailerError(f"trailer that cannot be read: {error}") from None


def _checked(values: Any) -> Carrier:
    match values:
        case [
            int(attempt),
            int() | float() as enqueued,
            int() | float() | None as eta,
            dict(headers),
            str() | None as previous,
            int(hops),
            *more,
        ] if (
            0 < attempt < 2**31
            and 0 <= hops < 2**31
            and math.isfinite(enqueued)
            and (eta is None or math.isfinite(eta))
            and all(isinstance(value, str) for value in headers.values())
        ):
            size, members = _chord(more)
            return Carrier(
                enqueued=float(enqueued),
                eta=None if eta is None else float(eta),
                attempt=int(attempt),
                headers=headers,
                previous=previous,
                hops=int(hops),
                members=members,
                chord_size=size,
            )
    raise TrailerError("trailer whose fields are not those of version 1")


def _chord(more: list[Any]) -> tuple[int, tuple[str, ...]]:
    match more:
        case [[int(size), *members], *_] if 0 < size < 2**31 and all(
            isinstance(member, str) for member in members
        ):
            return int(size), tuple(members)
    return 0, ()
