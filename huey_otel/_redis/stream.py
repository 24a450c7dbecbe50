"""The stream: Redis keeps the last events under a key, beside publishing them."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from huey_otel import _names as n
from huey_otel._options.values import Stream
from huey_otel._safety.failures import shortened
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.redaction import said

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

BODY: Final = b"body"
"""The field of an entry that has the event, in JSON."""

_PREFIX: Final = "huey.events."
_LARGEST_TRACEBACK: Final = 2_048
"""Bytes: 10,000 failures with 16 kB each would be 200 MB."""

_LIFETIME: Final = 7 * 86_400
_RENEW_AFTER: Final = 60.0
"""Seconds; the stream of a queue that is gone lives for `_LIFETIME`."""

_ASK_AGAIN_AFTER: Final = 3_600.0

_NO_PAYLOAD: Final = b"$0\r\n\r\n"


def key_of(channel: str, stream: Stream | None = None) -> str:
    """The key of the stream that has what is published on *channel*."""
    own = None if stream is None else stream.key
    return own or f"{_PREFIX}{channel}"


class StreamWriter:
    """Has each event added to a stream, in the write that publishes it.

    What Redis refuses is counted, and logged once per streak. A refusal of either of
    the two commands does not keep the other from its work.
    """

    def __init__(self, stream: Stream, channel: str, server: str, queue: str) -> None:
        self.key = key_of(channel, stream)
        self.entries = stream.entries
        self._server = server
        self._queue = queue
        self._streak = f"{server} stream {self.key}"
        self._up_to_body = b""
        self._renew_at = self._left_out_until = 0.0
        self._refusing = False
        self._unpublished = False
        self.found_replica = False
        """Whether its server refused what a replica does, though it was a master."""

    def join(self, connection: "AbstractConnection") -> None:
        """Write over *connection* from now on, which leads to any server."""
        entries = ("MAXLEN", "~", str(self.entries))
        empty = connection.pack_command("XADD", self.key, *entries, "*", BODY, b"")
        self._up_to_body = b"".join(empty).removesuffix(_NO_PAYLOAD)
        self._renew_at = 0.0

    @property
    def is_left_out(self) -> bool:
        """Whether its server has not answered XADD at all, less than an hour ago."""
        return time.monotonic() < self._left_out_until

    def leave_out(self) -> None:
        """Note that the server does not answer XADD."""
        if not self.is_left_out:
            self._left_out_until = time.monotonic() + _ASK_AGAIN_AFTER

    def addition(self, payload: bytes) -> bytes:
        """The command that adds the event *payload*."""
        body = body_of(payload)
        return b"%b$%d\r\n%b\r\n" % (self._up_to_body, len(body), body)

    def settle(self, published: Any, added: Any) -> Any:
        """Note the answers about one event; returns what counts as that of PUBLISH.

        An event that is in the stream alone counts as refused, and as delivered.
        """
        if isinstance(added, Exception):
            from redis.exceptions import ReadOnlyError

            # Once in a streak: the name may still lead to the same server.
            if not self._refusing and isinstance(added, ReadOnlyError):
                self.found_replica = True
            self.refused(1, said(added))
            return published
        if self._refusing:
            self._refusing = False
            message = f"events go to the stream {self.key!r} of {self._server} again"
            LOSSES.recovered(self._streak, message=message)
        if isinstance(published, Exception):
            self._unpublished = True
            why = f"{self._server} refuses to publish events: {said(published)}"
            self._count(
                *(n.LOSS_FEED_REFUSED, 1, f"{why}; only the stream has them"),
                streak=f"{self._streak} alone",
            )
            return 1
        if self._unpublished:
            self._unpublished = False
            message = f"events are published on {self._server} again"
            LOSSES.recovered(f"{self._streak} alone", message=message)
        return published

    def refused(self, number: int, why: str) -> None:
        """Note that *number* events are not in the stream, as Redis says *why*."""
        self._refusing = True
        what = f"the stream {self.key!r} of {self._server} takes no events: {why}"
        self._count(
            *(n.LOSS_STREAM_REFUSED, number, f"{what}; they are published all the same")
        )

    def renew(self, ask: Callable[..., Any]) -> None:
        """Have the stream expire in a week, if that was not asked for a minute.

        Only of what has just taken an event: a key of another type is not ours.
        """
        if self._refusing or time.monotonic() < self._renew_at:
            return
        self._renew_at = time.monotonic() + _RENEW_AFTER
        streak = f"{self._streak} expires"
        if ask("EXPIRE", self.key, _LIFETIME) is None:
            why = f"{self._server} refuses EXPIRE, so the stream {self.key!r} stays"
            self._count(n.LOSS_STREAM_REFUSED, 0, why, streak=streak)
        else:
            LOSSES.recovered(streak)

    def _count(
        self, reason: str, lost: int, why: str, *, streak: str | None = None
    ) -> None:
        streak = streak or self._streak
        LOSSES.count(reason, lost, why=why, queue=self._queue, streak=streak)

    def __str__(self) -> str:
        return f"stream {self.key!r} of {self.entries:,} entries"


def body_of(payload: bytes) -> bytes:
    """What an entry has of the event *payload*: the same, or with less traceback."""
    if len(payload) <= _LARGEST_TRACEBACK:
        return payload
    event = json.loads(payload)
    trace = event.get("traceback")
    if not isinstance(trace, str):
        return payload
    event["traceback"] = shortened(trace, _LARGEST_TRACEBACK)
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
