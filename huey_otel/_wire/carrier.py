"""The carrier: what a producer tells the worker about one message, in its trailer.

huey's messages have no headers. pickle stops at its STOP opcode, so bytes
behind it are invisible to a huey without us; ours are a JSON array, its
length, a version and a magic.
"""

import json
import math
import struct
from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
from typing import Any, Final, NamedTuple

_MAGIC: Final = b"hotl"
_VERSION: Final = 1
_FOOTER: Final = struct.Struct("<I4s")
"""The length of the JSON in three bytes, the version in the fourth, and the magic."""

_SIZE: Final = _FOOTER.size
_LENGTH: Final = 0xFFFFFF
_VERSION_AT: Final = 24
LARGEST: Final = 8_192
"""Bytes of JSON: more are neither written nor read."""

# `json.loads` guesses the encoding of bytes first, which takes longer than this.
_scan: Final[Any] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


class TrailerError(ValueError):
    """A trailer that is ours by its magic, but cannot be read."""


class Carrier(NamedTuple):
    """The context and times that a producer adds to a message of the queue.

    `enqueued` and `eta` are Unix seconds, `eta` None for a task that is due
    at once. `headers` are the propagated ones, never changed by a requeue;
    `previous` is the traceparent of the attempt before. A chord's callback has
    the traceparents of some `members`; the chord had `chord_size` of them.
    """

    enqueued: float
    eta: float | None = None
    attempt: int = 1
    headers: Mapping[str, str] = {}
    previous: str | None = None
    hops: int = 0
    members: tuple[str, ...] = ()
    chord_size: int = 0

    def carrying(self, headers: Mapping[str, str], enqueued: float) -> "Carrier":
        """The same with *headers* at *enqueued*; a third of the time of `_replace`."""
        _, eta, attempt, _, previous, hops, members, chord_size = self
        return Carrier(
            *(enqueued, eta, attempt, headers, previous, hops, members, chord_size)
        )


def encode(carrier: Carrier) -> bytes:
    """Write *carrier* as a trailer; if it is too long, without members, then headers.

    Raises ValueError for a time that is no number.
    """
    body = _body(carrier)
    if len(body) > LARGEST:
        body = _body(carrier._replace(members=()))
    if len(body) > LARGEST:
        body = _body(carrier._replace(members=(), headers={}))
    return body + _FOOTER.pack(len(body) | _VERSION << _VERSION_AT, _MAGIC)


def _body(carrier: Carrier) -> bytes:
    """The fields as JSON, put together by hand: this is on a task's path."""
    enqueued, eta, attempt, headers, previous, hops, members, chord_size = carrier
    items = ",".join(
        [f"{_quoted(name)}:{_quoted(value)}" for name, value in headers.items()]
    )
    if not math.isfinite(enqueued) or (eta is not None and not math.isfinite(eta)):
        raise ValueError(f"a carrier of {enqueued!r} and {eta!r}: expected seconds")
    text = (
        f"[{attempt},{enqueued!r},{_NULL if eta is None else repr(eta)},{{{items}}},"
        f"{_NULL if previous is None else _quoted(previous)},{hops}"
    )
    if chord_size:
        text = f"{text},[{','.join([str(chord_size), *map(_quoted, members)])}]"
    return f"{text}]".encode("utf-8", "backslashreplace")


_NULL: Final = "null"
_quoted: Final = encode_basestring


def opened(message: bytes) -> tuple[bytes, Carrier] | None:
    """*message* without its trailer, and the carrier; None when it has none."""
    carrier = decode(message)
    if carrier is None:
        return None
    end = len(message) - _SIZE
    packed, _ = _FOOTER.unpack_from(message, end)
    return message[: end - (packed & _LENGTH)], carrier


def decode(message: bytes) -> Carrier | None:
    """Read the trailer of *message*, None when it has none.

    Raises TrailerError for one that is damaged, too large, or of a version
    that we do not know.
    """
    if message[-4:] != _MAGIC or len(message) < _SIZE:
        return None
    end = len(message) - _SIZE
    packed, _ = _FOOTER.unpack_from(message, end)
    begin = end - (packed & _LENGTH)
    if packed >> _VERSION_AT != _VERSION:
        version = packed >> _VERSION_AT
        raise TrailerError(f"trailer of version {version}, known is {_VERSION}")
    if begin < 0 or end - begin > LARGEST:
        raise TrailerError(
            f"trailer of {packed & _LENGTH} bytes, at most {LARGEST} are read"
        )
    try:
        text = message[begin:end].decode()
        values, read = _scan(text, 0)
        if read == len(text):
            return _checked(values)
    except TrailerError:
        raise
    except (ValueError, OverflowError, RecursionError, StopIteration) as error:
        raise TrailerError(f"trailer that cannot be read: {error}") from None
    raise TrailerError("trailer that cannot be read: more than one value")


def _checked(values: Any) -> Carrier:
    """The carrier of *values*, checked by exact types, as JSON makes no others.

    Raises OverflowError for an integer that is past all floats.
    """
    if type(values) is list and len(values) >= _FIELDS:
        attempt, enqueued, eta, headers, previous, hops, *more = values
        if (
            type(attempt) is type(hops) is int
            and 0 < attempt < _TOO_MANY
            and 0 <= hops < _TOO_MANY
            and type(enqueued) in _NUMBERS
            and -_LATEST <= enqueued <= _LATEST
            and (eta is None or (type(eta) in _NUMBERS and math.isfinite(eta)))
            and type(headers) is dict
            and _are_strings(headers.values())
            and (previous is None or type(previous) is str)
        ):
            size, members = _chord(more[0]) if more else (0, ())
            due = None if eta is None else float(eta)
            return Carrier(
                float(enqueued), due, attempt, headers, previous, hops, members, size
            )
    raise TrailerError("trailer whose fields are not those of version 1")


_FIELDS: Final = 6
_TOO_MANY: Final = 2**31
_NUMBERS: Final = (float, int)
_LATEST: Final = 253_402_300_800.0
"""The end of the year 9999, in Unix seconds."""


def _are_strings(values: Iterable[object]) -> bool:
    for value in values:  # noqa: SIM110 - `all` makes a generator, four times as slow
        if type(value) is not str:
            return False
    return True


def _chord(value: Any) -> tuple[int, tuple[str, ...]]:
    match value:
        case [int(size), *members] if 0 < size < _TOO_MANY and _are_strings(members):
            return int(size), tuple(members)
    return 0, ()
