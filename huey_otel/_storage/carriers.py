"""The carriers of messages that stay in a storage, read without unpickling anything."""

import copy
from collections.abc import Callable
from typing import Any, Final

from huey.serializer import Serializer, SignedSerializer

from huey_otel._safety.guard import guarded
from huey_otel._safety.swapping import class_below, swap
from huey_otel._wire.carrier import Carrier, decode

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
