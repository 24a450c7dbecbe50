"""The subscription: a `redis.client.PubSub` that stays where the events are.

redis-py looks after a silent subscription with PING, which not every server knows or
allows, and which a server that was demoted and left alone answers as before.
"""

import time
from typing import TYPE_CHECKING, Any, Final

from redis.client import PubSub
from redis.exceptions import RedisError

from huey_otel._storage.connections import Connections

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

_EVERY: Final = 10.0
"""Seconds after which a subscription is looked after."""

_SELDOM: Final = 600.0
"""The same where names lead to another server each time, as a proxy's may."""

_GLANCE: Final = 1.0


class Subscription(PubSub):
    """Subscribed to *channel*; looks now and then whether it still hears all.

    It sends SUBSCRIBE again for the same channel, and does not hand on the answer.
    It also opens a short second connection by name. If that leads to a master which
    is another server, or has no subscriber on the channel, this one connects again.
    What is published meanwhile is lost to it, as always with pub/sub.
    """

    def __init__(
        self, connections: Connections, channel: str, *, hasty: bool = False
    ) -> None:
        self._connections = connections
        self._server: bytes | None = None
        self._is_told_numbers = True
        self._probed: list[bytes] = []
        self._interval = _EVERY
        self._due = time.monotonic() + _EVERY
        super().__init__(connections.to_listen(self._met, hasty=hasty))
        try:
            self.subscribe(channel)
        except BaseException:
            self.close()
            raise

    def parse_response(self, block: bool = True, timeout: float = 0) -> Any:  # noqa: FBT001, FBT002 - redis-py's
        """As redis-py's, and looks after the subscription meanwhile."""
        end = None if block else time.monotonic() + timeout
        while True:
            left = _GLANCE if end is None else max(0.0, end - time.monotonic())
            response = super().parse_response(  # type: ignore[no-untyped-call]
                block=False, timeout=min(left, _GLANCE)
            )
            connection = self.connection
            if response is None and connection and time.monotonic() >= self._due:
                # Only now: what was read no further would be lost by a move.
                self._look_after(connection)
            if response is not None and not self._is_answer(response):
                return response
            if end is not None and time.monotonic() >= end:
                return None

    def _met(self, connection: "AbstractConnection") -> None:
        self._server, _ = _told(self._connections.courtesies.offer(connection, "INFO"))
        self._probed = []

    def _is_answer(self, response: Any) -> bool:
        """Whether *response* is to a SUBSCRIBE that the user knows nothing of."""
        if response[0] in (b"subscribe", "subscribe") and response[1] in self._probed:
            self._probed.remove(response[1])
            return True
        return False

    def _look_after(self, connection: "AbstractConnection") -> None:
        self._due = time.monotonic() + self._interval
        # What the user has left is none of ours.
        channel = next(
            iter(self.channels.keys() - self.pending_unsubscribe_channels), None
        )
        if channel is None:
            return
        elsewhere = self._is_elsewhere(channel)
        if elsewhere or (elsewhere is False and self._probed):
            # The next read connects, and redis-py subscribes.
            connection.disconnect()
            self._interval = min(2 * self._interval, _SELDOM)
        elif elsewhere is False:
            self._interval = _EVERY
            self._probed.append(channel)
            connection.send_command("SUBSCRIBE", channel, check_health=False)
        self._due = time.monotonic() + self._interval

    def _is_elsewhere(self, channel: bytes) -> bool | None:
        """Whether *channel* is published on by another server.

        None if none answers.
        """
        beside = self._connections.to_publish()
        offer = self._connections.courtesies.offer
        try:
            beside.connect()
            if self._server:
                server, master = _told(offer(beside, "INFO"))
                if server:
                    return master and server != self._server
            if self._is_told_numbers:
                found = offer(beside, "PUBSUB", "NUMSUB", channel.decode())
                self._is_told_numbers = isinstance(found, list)
                return self._is_told_numbers and found[-1] == 0
        except (RedisError, OSError):
            return None
        finally:
            beside.disconnect()
        return False


def _told(info: Any) -> tuple[bytes | None, bool]:
    """Which run of a server an INFO is of, and whether that is a master."""
    if not isinstance(info, bytes):
        return None, False
    told = dict(line.split(b":", 1) for line in info.split(b"\r\n") if b":" in line)
    return told.get(b"run_id"), told.get(b"role") == b"master"
