"""The subscription: a `redis.client.PubSub` that follows its name to another master.

redis-py checks a silent subscription with PING, which not every server knows or
allows, and which a server that was demoted answers as before.
"""

import time
from typing import TYPE_CHECKING, Any, Final

from redis.client import PubSub
from redis.exceptions import InvalidResponse, RedisError

from huey_otel._storage.connections import Connections

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

_INTERVAL: Final = 10.0
"""Seconds after which a subscription is checked."""

_LONGEST_INTERVAL: Final = 600.0
"""The same where a name leads to another server each time, as a proxy's may."""

_LONGEST_READ: Final = 1.0
"""Seconds of one read, so that a check comes in time."""


class Subscription(PubSub):
    """Subscribed to *channel*; checks now and then whether it still gets all events.

    A check sends SUBSCRIBE again for the same channel, and hides the answer. It also
    opens a short second connection by name. If that leads to a master which is another
    server, or which has no subscriber on the channel, this one connects again.
    """

    def __init__(
        self, connections: Connections, channel: str, *, impatient: bool = False
    ) -> None:
        self._connections = connections
        self._server: bytes | None = None
        self._counts_subscribers = True
        self._hidden_answers: list[bytes] = []
        self._interval = _INTERVAL
        self._due = time.monotonic() + _INTERVAL
        super().__init__(connections.to_listen(self._connected, impatient=impatient))
        try:
            self.subscribe(channel)
        except BaseException:
            self.close()
            raise

    def parse_response(self, block: bool = True, timeout: float = 0) -> Any:  # noqa: FBT001, FBT002 - redis-py's
        """As redis-py's, and checks the subscription meanwhile."""
        end = None if block else time.monotonic() + timeout
        while True:
            left = _LONGEST_READ if end is None else max(0.0, end - time.monotonic())
            response = super().parse_response(  # type: ignore[no-untyped-call]
                block=False, timeout=min(left, _LONGEST_READ)
            )
            if response is not None and not _is_of_pub_sub(response):
                raise InvalidResponse(f"{response!r:.100} is no message of pub/sub")
            connection = self.connection
            if response is None and connection and time.monotonic() >= self._due:
                # Only when all is read: a new connection would lose the rest.
                self._check(connection)
            if response is not None and not self._is_hidden(response):
                return response
            if end is not None and time.monotonic() >= end:
                return None

    def _connected(self, connection: "AbstractConnection") -> None:
        info = self._connections.optional.send(connection, "INFO")
        self._server, _ = _server_and_role(info)
        self._hidden_answers = []

    def _is_hidden(self, response: Any) -> bool:
        """Whether *response* answers a SUBSCRIBE of ours."""
        kind, channel = response[0], response[1]
        if kind in (b"subscribe", "subscribe") and channel in self._hidden_answers:
            self._hidden_answers.remove(channel)
            return True
        return False

    def _check(self, connection: "AbstractConnection") -> None:
        self._due = time.monotonic() + self._interval
        # Not one from which the user is unsubscribing.
        channel = next(
            iter(self.channels.keys() - self.pending_unsubscribe_channels), None
        )
        if channel is None:
            return
        elsewhere = self._is_elsewhere(channel)
        if elsewhere or (elsewhere is False and self._hidden_answers):
            # The next read connects, and redis-py subscribes.
            connection.disconnect()
            self._interval = min(2 * self._interval, _LONGEST_INTERVAL)
        elif elsewhere is False:
            self._interval = _INTERVAL
            self._hidden_answers.append(channel)
            connection.send_command("SUBSCRIBE", channel, check_health=False)
        self._due = time.monotonic() + self._interval

    def _is_elsewhere(self, channel: bytes) -> bool | None:
        """Whether *channel* is published on by another server; None if none answers."""
        second = self._connections.to_publish()
        send = self._connections.optional.send
        try:
            second.connect()
            if self._server:
                server, is_master = _server_and_role(send(second, "INFO"))
                if server:
                    return is_master and server != self._server
            if self._counts_subscribers:
                found = send(second, "PUBSUB", "NUMSUB", channel.decode())
                self._counts_subscribers = isinstance(found, list)
                return self._counts_subscribers and found[-1] == 0
        except (RedisError, OSError):
            return None
        finally:
            second.disconnect()
        return False


def _is_of_pub_sub(response: Any) -> bool:
    """Whether a Redis may have sent *response*, which redis-py takes for granted."""
    if not isinstance(response, list) or not response:
        return False
    return len(response) > 2 or response[0] in (b"pong", "pong")


def _server_and_role(info: Any) -> tuple[bytes | None, bool]:
    """The `run_id` in an INFO, and whether that server is a master."""
    if not isinstance(info, bytes):
        return None, False
    lines = (line.partition(b":") for line in info.split(b"\r\n"))
    fields = {name: value for name, _, value in lines}
    return fields.get(b"run_id"), fields.get(b"role") == b"master"
