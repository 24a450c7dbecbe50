"""The reader of a channel: what is published from now on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from huey_otel._storage.connections import Connections

if TYPE_CHECKING:
    from huey_otel._redis.subscription import Subscription

_READ_TIMEOUT: Final = 1.0
_SUBSCRIBE_TIMEOUT: Final = 2.0


class ChannelReader:
    """Reads the messages on *channel*; any method raises RedisError or OSError."""

    def __init__(self, connections: Connections, channel: str) -> None:
        self._connections = connections
        self._channel = channel
        self._subscription: Subscription | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has subscribed."""
        return self._subscription is not None

    def open(self) -> None:
        """Subscribe, and wait until Redis says so."""
        from redis.exceptions import InvalidResponse

        from huey_otel._redis.subscription import Subscription

        subscription = None
        try:
            subscription = Subscription(
                self._connections, self._channel, impatient=True
            )
            answer = subscription.get_message(timeout=_SUBSCRIBE_TIMEOUT)
            if answer is None:
                raise OSError("no answer")
            if answer["type"] != "subscribe":
                raise InvalidResponse(f"{answer['type']} is no answer to SUBSCRIBE")
        except ValueError as error:
            if subscription is not None:
                subscription.close()
            raise InvalidResponse(str(error)) from error
        except BaseException:
            if subscription is not None:
                subscription.close()
            raise
        self._subscription = subscription

    def read(self) -> Sequence[Any]:
        """The next message, None for one that cannot be read; waits a second for it."""
        if self._subscription is None:
            return ()
        try:
            message = self._subscription.get_message(
                ignore_subscribe_messages=True, timeout=_READ_TIMEOUT
            )
        except ValueError:
            # The application's own connection class could not read it.
            return (None,)
        return () if message is None else (message["data"],)

    def failed(self, error: Exception) -> None:
        """Unsubscribe after *error*, unless redis-py has subscribed again.

        Newer versions do that before they raise; a second subscription would only lose
        events.
        """
        from redis.exceptions import ConnectionError as BrokenError

        connection = getattr(self._subscription, "connection", None)
        connected = bool(getattr(connection, "is_connected", False))
        if not (isinstance(error, BrokenError) and connected):
            self.close()

    def close(self) -> None:
        """End the subscription."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
