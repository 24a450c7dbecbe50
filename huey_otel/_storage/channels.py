"""The channel: the one rule by which a queue's events get theirs."""

from typing import Any

from huey.storage import RedisStorage

from huey_otel._safety import encodable


def channel_of(queue: str, storage: Any, given: str | None = None) -> str:
    """The channel of *queue* on *storage*: *given*, or the name that Redis knows it by.

    That is what huey makes of the queue's name for its keys. Where nothing is left
    of it, or there are no keys, it is the queue's name.
    """
    name = storage.name if isinstance(storage, RedisStorage) else ""
    return _sendable(given or name or queue)


def checked_channel(channel: object) -> str:
    """*channel* if it can be one; TypeError or ValueError if not."""
    expected = "expected the name of a channel, a non-empty str"
    if not isinstance(channel, str):
        raise TypeError(f"channel={channel!r}: {expected}")
    if not channel:
        raise ValueError(f"channel={channel!r}: {expected}")
    if _sendable(channel) != channel:
        raise ValueError(f"channel={channel!r}: {expected} that can be UTF-8")
    return channel


def _sendable(name: object) -> str:
    """*name* as a text that is not empty; huey takes any object for one."""
    if isinstance(name, bytes):
        name = name.decode(errors="backslashreplace")
    if not isinstance(name, str):
        return encodable.name(name) or "huey"
    # One of a class of its own, as of an enum, writes itself as it likes.
    return encodable.text(str.__str__(name)) or "huey"
