"""The carriers of messages that stay in a storage, read without unpickling anything."""

import copy
import re
import zlib
from collections.abc import Callable
from typing import Any, Final

from huey.serializer import Serializer, SignedSerializer

from huey_otel._safety.guard import guarded
from huey_otel._safety.swapping import class_below, swap
from huey_otel._storage.layouts import LARGEST_READ
from huey_otel._wire.carrier import Carrier, TrailerError, decode

_HUEYS: Final = tuple(
    vars(kind)["_serialize"] for kind in (Serializer, SignedSerializer)
)


class PeekingSerializer(Serializer):
    """Stands in for huey's Serializer below a user's signature and compression."""

    def _deserialize(self, data: bytes) -> Carrier | None:
        return decode(data)


def reader_of(serializer: object) -> Callable[[bytes], Carrier | None]:
    """What reads the carrier of a message that *serializer* has written.

    It raises what *serializer* does, and reads None where there is no carrier.
    """
    twin: Any = copy.copy(serializer)
    if isinstance(twin, Serializer):
        twin.__class__ = class_below(twin)
        swap(twin, PeekingSerializer, below=True)
    hueys = is_hueys(serializer)

    def read(message: bytes) -> Carrier | None:
        if not hueys:
            enveloped = decode(message)
            if enveloped is not None:
                return enveloped
        if not isinstance(twin, Serializer):
            return None
        carrier = twin.deserialize(message)
        return carrier if isinstance(carrier, Carrier) else None

    return read


@guarded
def is_hueys(serializer: object) -> bool:
    """Whether all of *serializer* is huey's own, so that a trailer is inside."""
    kind: Any = class_below(serializer)
    return (
        getattr(kind, "serialize", None) is Serializer.serialize
        and getattr(kind, "_serialize", None) in _HUEYS
    )


class OpaqueError(ValueError):
    """A message that no serializer of huey's has written, or that is too large."""


_SIGNATURE: Final = re.compile(rb":[0-9a-f]{40}$")
_KIND: Final = b"huey.registry"
"""In each message of huey's, whatever the protocol of its pickle."""

_BEGINNING: Final = 64
_GZIP, _ZLIB = b"\x1f\x8b", b"\x78"
_EITHER: Final = zlib.MAX_WBITS | 32


def opened(message: bytes) -> bytes:
    """*message* as it was before huey's serializers have compressed it, if they have.

    Raises OpaqueError where that cannot be said.
    """
    if message.startswith((_GZIP, _ZLIB)):
        return _decompressed(message)
    return message


def sniffed(message: bytes) -> Carrier | None:
    """The carrier of *message*, an `opened` one, whatever has written it.

    None if it has none; no signature is verified. Raises TrailerError for a trailer
    that cannot be read, and OpaqueError where none could be seen.
    """
    for unsigned in (message, _SIGNATURE.sub(b"", message)):
        carrier = decode(unsigned)
        if carrier is not None:
            return carrier
    if _KIND in message[:_BEGINNING]:
        return None
    raise OpaqueError("a message of another serializer's")


def carrier_or_none(message: bytes) -> Carrier | None:
    """The carrier of *message*, whatever has written it; None where none is read."""
    try:
        return sniffed(opened(message))
    except (TrailerError, OpaqueError):
        return None


def _decompressed(message: bytes) -> bytes:
    stream = zlib.decompressobj(_EITHER)
    try:
        whole = stream.decompress(message, LARGEST_READ)
    except zlib.error as error:
        raise OpaqueError(str(error)) from None
    if not stream.eof:
        raise OpaqueError(f"a message of more than {LARGEST_READ} bytes")
    return whole
