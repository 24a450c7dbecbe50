"""The connection that events are published on, and the server's answers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from huey_otel._storage.connections import Connections
from huey_otel._storage.optional_commands import OptionalCommands

if TYPE_CHECKING:
    from huey_otel._redis.stream import StreamWriter

_NO_PAYLOAD: Final = b"$0\r\n\r\n"

_TIMES: Final = 3
"""How often a server must have hung up on a command to be one that always does."""


class RefusedError(Exception):
    """Redis refuses us: no permission, or a wrong password."""


class PublishingConnection:
    """Sends events without awaiting each answer; raises redis' ConnectionError.

    It connects when it is made, which raises RefusedError if the server refuses that.
    What it sends is added to *stream* as well, if there is one.
    """

    def __init__(
        self,
        connections: Connections,
        channel: str,
        stream: "StreamWriter | None" = None,
    ) -> None:
        from redis import exceptions

        self._connection = connections.to_publish()
        self._optional = connections.optional
        self._refusal = exceptions.ResponseError
        # redis-py would pack these words again for each event.
        empty = self._connection.pack_command("PUBLISH", channel, b"")
        self._up_to_payload = b"".join(empty).removesuffix(_NO_PAYLOAD)
        self.unanswered = 0
        self._stream: StreamWriter | None = None
        self._left_out: StreamWriter | None = None
        self._published: Any = None
        try:
            self._connection.connect()
            # A refused PING is an answer as well.
            self.ask("PING")
            if stream is not None:
                self._join(stream)
        except (exceptions.AuthenticationError, exceptions.ResponseError) as error:
            self.close()
            raise RefusedError(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _join(self, stream: "StreamWriter") -> None:
        """Add to *stream*, unless the server hangs up on commands it does not know.

        Without arguments XADD is refused, and does nothing. A connection may break by
        itself while it is asked, so one time proves nothing.
        """
        for _ in range(0 if stream.is_left_out else _TIMES):
            asking = OptionalCommands()
            asking.send(self._connection, "XADD")
            if asking.accepts("XADD"):
                stream.join(self._connection)
                self._stream = stream
                return
        stream.leave_out()
        self._left_out = stream

    def ask(self, *command: str | int) -> Any:
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
        if self._stream is not None:
            additions = map(self._stream.addition, payloads)
            packed = [
                one for both in zip(packed, additions, strict=True) for one in both
            ]
        elif self._left_out is not None:
            why = "the server does not answer XADD"
            self._left_out.refused(len(payloads), why)
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
        if self._stream is not None:
            if self._published is None:
                # That of XADD comes next.
                self._published = _answer(answer)
                return self.answer(timeout)
            answer = self._stream.settle(self._published, answer)
            self._published = None
        self.unanswered -= 1
        return _answer(answer)

    def close(self) -> None:
        """Close it; in a forked child without a word to the server."""
        self._connection.disconnect()


def _answer(answer: Any) -> int | Exception:
    """What answers a PUBLISH; a proxy may answer without a number."""
    return answer if isinstance(answer, int | Exception) else 1
