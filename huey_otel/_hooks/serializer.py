"""The mixin of a serializer: writes a carrier behind a message, keeps what it reads."""

from typing import Any

from huey.registry import Message
from huey.serializer import Serializer

from huey_otel._safety.swapping import put_back, swap
from huey_otel._tasks.context import HERE
from huey_otel._wire.carrier import LONGEST


class ObservedSerializer(Serializer):
    """Sits right above huey's Serializer, so below signatures and compression.

    A serializer that does not call huey's own `_serialize` writes no trailer: its
    other readers may not accept one.
    """

    def _serialize(self, data: Any) -> bytes:
        written: bytes = Serializer._serialize(self, data)
        here = HERE.local.doing
        trailer = here.trailer
        if trailer is not None and isinstance(data, Message):
            here.trailer = None
            return written + trailer
        chord = here.chord
        if chord is not None and chord.done is not None:
            # This is a member's result: huey serializes nothing else meanwhile.
            return written + chord.done
        return written

    def _deserialize(self, data: bytes) -> Any:
        here = HERE.local.doing
        here.incoming = end = data[-LONGEST:]
        if here.chord is not None:
            here.chord.read.append(end)
        return Serializer._deserialize(self, data)


def observe(serializer: object) -> None:
    """Swap *serializer*'s class, if it is of huey's kind.

    One serializer may serve several hueys: the last to leave puts it back.
    """
    if isinstance(serializer, Serializer):
        swap(serializer, ObservedSerializer, below=True, _huey_otel_users=0)
        observed: Any = type(serializer)
        observed._huey_otel_users += 1


def release(serializer: object) -> None:
    """Undo one `observe`."""
    observed: Any = type(serializer)
    if issubclass(observed, ObservedSerializer):
        observed._huey_otel_users -= 1
        if not observed._huey_otel_users:
            put_back(serializer)
