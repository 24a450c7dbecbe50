"""The connection that events are published on, and the server's answers."""

from collections.abc import Sequence
from typing import Any, Final

from huey_otel._storage.connections import Connections

_NO_PAYLOAD: Final = b"$0\r\n\r\n"


class RefusedError(Exception):
    """Redis refuses us: no permission, or a wrong password."""


class PublishingConnection:
    """Sends events without awaiting each answer; raises redis' ConnectionError.

    It connects when it is made, which raises RefusedError if the server refuses that.
    """

    def __init__(self, connections: Connections, channel: str) -> None:
        from redis import exceptions

        self._connection = connections.to_publish()
        self._optional = connections.optional
        self._refusal = exceptions.ResponseError
        # redis-py would pack these words again for each event.
        empty = self._connection.pack_command("PUBLISH", channel, b"")
        self._up_to_payload = b"".join(empty).removesuffix(_NO_PAYLOAD)
        self.unanswered = 0
        try:
            self._connection.connect()
            # A refused PING is an answer as well.
            self.ask("PING")
        except (exceptions.AuthenticationError, exceptions.ResponseError) as error:
            self.close()
            raise RefusedError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def ask(self, *command: str) -> Any:
        """The answer to an optional *command*, None if refused."""
        return self._optional.send(self._connection, *command)

    def stale(self) -> bool:
        """Whether the server has closed it, or sent an answer to no command."""
        return bool(self._connection.can_read(timeout=0))

    def send(self, payloads: Sequence[bytes]) -> None:
        """Write a PUBLISH for each of *payloads*, and wait for no answer."""
        packed = [
            b"%b$%d\r\n%b\r\n" % (self._up_to_payload, len(payload), payload)
            for payload in payloads
        ]
        self.unanswered = len(payloads)
        self._connection.send_packed_command([b"".join(packed)], check_health=False)

    def answer(self, timeout: float) -> int | Exception | None:
        """How many subscribers got the next event, a refusal, or None by *timeout*."""
        if not self._connection.can_read(timeout=timeout):
            return None
        try:
            answer = self._connection.read_response()
        except self._refusal as error:
            answer = error
        self.unanswered -= 1
        # A proxy may answer without a number.
        return answer if isinstance(answer, int | Exception) else 1

    def close(self) -> None:
        """Close it; in a forked child without a word to the server."""
        self._connection.disconnect()
