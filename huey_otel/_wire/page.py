"""The metrics page: what a consumer leaves in Redis, and readers take from there.

It is a head, one line of JSON, and a zlib stream of OpenMetrics text. A page lives for
ten minutes after its last renewal, so its time to live says how old it is.
"""

import json
import zlib
from typing import Any, Final, NamedTuple

LIFETIME: Final = 600
"""Seconds that a page stays in Redis unless it is renewed."""

LARGEST: Final = 32 << 20
"""Bytes of text, and of a whole page: a longer one is not read."""

_PREFIX: Final = "huey.metrics."
_FORMAT: Final = 1
_LARGEST_HEAD: Final = 4_096
_LONGEST_NAME: Final = 1_024
_LATEST: Final = 1e12
_LEVEL: Final = 1
"""A third of the time of level 6, and a fifth more bytes."""

DAMAGED: Final = "damaged"
NEWER: Final = "newer"
TOO_LARGE: Final = "too_large"


class PageError(Exception):
    """A page that cannot be read; `reason` is DAMAGED, NEWER or TOO_LARGE."""

    def __init__(self, reason: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason


class Head(NamedTuple):
    """What a page says of itself.

    `consumer` is the client id that spans have, `interval` the seconds until the next
    page. `ended` is true in the last page of a consumer that stopped as it was asked
    to. `at` is when it was made, by the consumer's clock, in Unix seconds.
    """

    queue: str
    consumer: str
    interval: float
    version: str
    ended: bool = False
    at: float | None = None


def index_of(storage: str) -> str:
    """The key of the sorted set of publishers; *storage* is the queue's name in keys.

    The scores are when each last wrote a page, by the server's clock.
    """
    return f"{_PREFIX}{storage}"


def key_of(storage: str, publisher: str) -> str:
    """The key of the page of *publisher*."""
    return f"{_PREFIX}{storage}.{publisher}"


def pack(head: Head, text: str) -> bytes:
    """The page of *head* and *text*."""
    line = json.dumps({"format": _FORMAT, **head._asdict()})
    return line.encode() + b"\n" + zlib.compress(text.encode(), _LEVEL)


def unpack(page: bytes, largest: int = LARGEST) -> tuple[Head, str]:
    """The head and the text of *page*, which any program may have written; PageError.

    Unpacking stops at *largest* bytes.
    """
    if len(page) > largest:
        raise PageError(TOO_LARGE, f"has over {largest:,} bytes")
    line, _, packed = page.partition(b"\n")
    head = _head(line)
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, largest + 1)
        if len(text) > largest:
            raise PageError(TOO_LARGE, f"has over {largest:,} bytes unpacked")
        if not stream.eof:
            raise PageError(DAMAGED, "ends too early")
        return head, text.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise PageError(DAMAGED, f"cannot be unpacked: {error}") from None


def _head(line: bytes) -> Head:
    if len(line) > _LARGEST_HEAD:
        raise PageError(DAMAGED, "has no head")
    try:
        told: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise PageError(DAMAGED, "has no head in JSON") from None
    form = told.get("format") if isinstance(told, dict) else None
    if type(form) is int and form > _FORMAT:
        raise PageError(NEWER, "has a newer format than this version knows")
    if form != _FORMAT or type(form) is not int:
        raise PageError(DAMAGED, "does not say its format")
    names = [told.get(name) for name in ("queue", "consumer", "version")]
    interval, at = told.get("interval"), told.get("at")
    if (
        not all(isinstance(name, str) and len(name) <= _LONGEST_NAME for name in names)
        or type(interval) not in (int, float)
        or not 1 <= interval <= LIFETIME
        or type(told.get("ended")) is not bool
        or not (at is None or _is_moment(at))
    ):
        raise PageError(DAMAGED, "has a head that is not ours")
    queue, consumer, version = names
    at = None if at is None else float(at)
    return Head(queue, consumer, float(interval), version, told["ended"], at)


def _is_moment(at: Any) -> bool:
    return type(at) in (int, float) and abs(at) < _LATEST
