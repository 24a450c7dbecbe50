"""The link: one connection that events are published on, and its answers."""

from collections.abc import Sequence
from typing import Any, Final

from huey_otel._storage.connections import Connections

_NO_PAYLOAD: Final = b"$0\r\n\r\n"


class RefusedError(Exception):
    """Redis answered, and it will not have us: no permission, or a wrong password."""


class PublishingConnection:
    """One connection to publish on. Raises redis' ConnectionError when it breaks."""

    def __init__(self, connections: Connections) -> None:
        self._connection = connections.to_publish()
        self._courtesies = connections.courtesies
        self.unanswered = 0
        self._channel: str | None = None
        self._begin = b""
        self._refusal: type[Exception] = Exception

    def open(self) -> None:
        """Connect and see that the server answers; RefusedError if it refuses."""
        from redis import exceptions

        self._refusal = exceptions.ResponseError
        try:
            self._connection.connect()
            # A refusal is an answer as well.
            self._courtesies.offer(self._connection, "PING")
        except (exceptions.AuthenticationError, exceptions.ResponseError) as error:
            self.close()
            raise RefusedError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def ask(self, *command: str) -> Any:
        """The answer to a *command*, while no other is awaited; None if refused."""
        return self._courtesies.offer(self._connection, *command)

    def stale(self) -> bool:
        """True when the server has closed it, or sent what was not asked for."""
        return bool(self._connection.can_read(timeout=0))

    def send(self, channel: str, payloads: Sequence[bytes]) -> None:
        """Write a PUBLISH for each of *payloads*, and wait for no answer."""
        begin = self._begin_of(channel)
        packed = [b"%b$%d\r\n%b\r\n" % (begin, len(one), one) for one in payloads]
        self.unanswered = len(payloads)
        self._connection.send_packed_command([b"".join(packed)], check_health=False)

    def _begin_of(self, channel: str) -> bytes:
        """A PUBLISH up to its payload, which redis-py would pack again for each."""
        if channel != self._channel:
            packed = b"".join(self._connection.pack_command("PUBLISH", channel, b""))
            self._channel, self._begin = channel, packed.removesuffix(_NO_PAYLOAD)
        return self._begin

    def answer(self, timeout: float) -> int | Exception | None:
        """How many subscribers got the next one, a refusal, or None after *timeout*.

        A proxy may answer without a number: that counts as one subscriber.
        """
        if not self._connection.can_read(timeout=timeout):
            return None
        try:
            answer = self._connection.read_response()
        except self._refusal as error:
            self.unanswered -= 1
            return error
        self.unanswered -= 1
        return answer if isinstance(answer, int) else 1

    def close(self) -> None:
        """Close it; in a forked child without a word to the server."""
        self._connection.disconnect()
