"""Courtesies: commands that help where a server takes them, and are not needed.

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

_AGAIN: Final = 3_600.0
"""Seconds after which a command that broke a connection is offered again.

A server that hung at the first command looks like a proxy that never answers it.
"""


class Courtesies:
    """Sends the courtesies to one Redis, and remembers which it does not take.

    A command that breaks the connection, or gets no answer, is not sent again for
    an hour. If the server has answered that command before, the server is away,
    and the error is raised.
    """

    def __init__(self) -> None:
        self._answered: set[str] = set()
        self._ill: dict[str, float] = {}

    def offer(self, connection: "AbstractConnection", *command: str | int) -> Any:
        """The answer to *command*, None if refused; may make *connection* again."""

        def renew() -> None:
            connection.disconnect()
            connection.connect()

        return self._offered(command, lambda: _ask(connection, *command), renew)

    def offer_by(self, client: Any, *command: str | int) -> Any:
        """The same over *client*, which makes its connections again itself."""
        return self._offered(
            command, lambda: client.execute_command(*command), lambda: None
        )

    def takes(self, name: str) -> bool:
        """Whether the command called *name* would be offered now."""
        return time.monotonic() >= self._ill.get(name, 0.0)

    def _offered(
        self,
        command: tuple[str | int, ...],
        ask: Callable[[], Any],
        renew: Callable[[], None],
    ) -> Any:
        from redis import exceptions

        name = str(command[0])
        if not self.takes(name):
            return None
        try:
            answer = ask()
        except exceptions.ResponseError as error:
            if _turns_away(error):
                raise
            answer = None
        except (exceptions.RedisError, OSError) as error:
            if name in self._answered or _turns_away(error):
                raise
            # Before the connection is made again, which may offer it as well.
            self._ill[name] = time.monotonic() + _AGAIN
            try:
                renew()
            except BaseException:
                del self._ill[name]
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


def _turns_away(error: Exception) -> bool:
    """Whether by *error* the server refuses the client as such, or is still loading."""
    from redis import exceptions

    kinds = (
        exceptions.AuthenticationError,
        exceptions.AuthorizationError,
        exceptions.BusyLoadingError,
    )
    said = str(error)
    # In its protected mode, and with all connections taken, it hangs up after that.
    return isinstance(error, kinds) or said.startswith(
        ("DENIED", "max number of clients")
    )
