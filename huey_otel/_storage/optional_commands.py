"""Optional commands: they help where a server answers them, and are not needed.

Some proxies refuse a command that they do not know, some close the connection, and
some never answer.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from redis.connection import AbstractConnection

TIMEOUT: Final = 2.0
"""Seconds that an answer may take."""

_RETRY_AFTER: Final = 3_600.0
"""Seconds after which a command that broke a connection is sent again.

A server that hung at the first command looks like a proxy that never answers it.
"""


class OptionalCommands:
    """Sends optional commands to one Redis, and remembers which it does not answer.

    A command that breaks the connection, or gets no answer, is not sent again for an
    hour. If the server has answered it before, the server is away: the error is raised.
    """

    def __init__(self) -> None:
        self._answered: set[str] = set()
        self._retry_at: dict[str, float] = {}

    def send(self, connection: "AbstractConnection", *command: str | int) -> Any:
        """The answer to *command*, None if refused; may make *connection* again."""

        def reconnect() -> None:
            connection.disconnect()
            connection.connect()

        return self._send(command, lambda: _ask(connection, *command), reconnect)

    def send_by(self, client: Any, *command: str | int) -> Any:
        """The same over *client*, which makes its connections again itself."""
        return self._send(
            command, lambda: client.execute_command(*command), lambda: None
        )

    def accepts(self, name: str) -> bool:
        """Whether the command called *name* would be sent now."""
        return time.monotonic() >= self._retry_at.get(name, 0.0)

    def _send(
        self,
        command: tuple[str | int, ...],
        ask: Callable[[], Any],
        reconnect: Callable[[], None],
    ) -> Any:
        from redis import exceptions

        name = str(command[0])
        if not self.accepts(name):
            return None
        try:
            answer = ask()
        except exceptions.ResponseError as error:
            if _refuses_the_client(error):
                raise
            answer = None
        except (exceptions.RedisError, OSError) as error:
            if name in self._answered or _refuses_the_client(error):
                raise
            # First, as a new connection may send the same command.
            self._retry_at[name] = time.monotonic() + _RETRY_AFTER
            try:
                reconnect()
            except BaseException:
                del self._retry_at[name]
                raise
            return None
        self._answered.add(name)
        return answer


def _ask(connection: "AbstractConnection", *command: str | int) -> Any:
    """The answer to *command*; a subscription's connection has no timeout itself."""
    from redis.exceptions import TimeoutError as NoAnswerError

    connection.send_command(*command, check_health=False)
    if not connection.can_read(timeout=TIMEOUT):
        raise NoAnswerError(f"no answer to {command[0]}")
    return connection.read_response()


def _refuses_the_client(error: Exception) -> bool:
    """Whether *error* is about the client as such, or the server is still loading."""
    from redis import exceptions

    kinds = (
        exceptions.AuthenticationError,
        exceptions.AuthorizationError,
        exceptions.BusyLoadingError,
    )
    # Redis hangs up after these: the first in its protected mode, the second when it
    # has `maxclients`.
    texts = ("DENIED", "max number of clients")
    return isinstance(error, kinds) or str(error).startswith(texts)
