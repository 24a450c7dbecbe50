"""The stream of a queue's events: whether there is one, and how far it reaches back."""

from dataclasses import dataclass
from typing import Any, Final

from huey_otel._redis.position import id_of
from huey_otel.cli.check.asking import Asking
from huey_otel.cli.check.finding import Unknown

NONE: Final = "none"
STREAM: Final = "stream"
"""What TYPE says of no key, and of a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is under the *key* of a stream: a *kind* of Redis', or none.

    The first of *length* entries was added at *oldest*, seconds of the server's clock,
    and *trimmed* were dropped before it; None where there is none, or Redis is older
    than version 7. *unread* says why these are not known.
    """

    key: str
    kind: str | Unknown
    length: int = 0
    oldest: float | None = None
    trimmed: int | None = None
    unread: Unknown | None = None


def look_at(ask: Asking, client: Any, key: str) -> Kept:
    """Look at *key*."""
    kind: Any = ask("TYPE", lambda: client.type(key))
    if isinstance(kind, bytes):
        kind = kind.decode(errors="replace")
    if kind != STREAM:
        return Kept(key=key, kind=kind)
    told: Any = ask("XINFO STREAM", lambda: _told(client.xinfo_stream(key)))
    if isinstance(told, Unknown):
        return Kept(key=key, kind=kind, unread=told)
    length, oldest, added = told
    trimmed = None if added is None else added - length
    return Kept(key=key, kind=kind, length=length, oldest=oldest, trimmed=trimmed)


def _told(info: Any) -> tuple[int, float | None, int | None]:
    """The length, when the first entry was added, and how many were ever added."""
    first = info["first-entry"]
    oldest = id_of(first[0])[0] / 1_000 if first else None
    return int(info["length"]), oldest, info.get("entries-added")
