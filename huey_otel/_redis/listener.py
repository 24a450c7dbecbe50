"""The listener: iterates the events that a consumer publishes on Redis."""

import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, cast

from huey_otel._options.values import CHANNEL_NAME
from huey_otel._safety.log import warn
from huey_otel._safety.redaction import said, shown
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel.events import Event

if TYPE_CHECKING:
    from redis import Redis

    from huey_otel._redis.subscription import Subscription

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_READ_TIMEOUT = 1.0
_SUBSCRIBE_TIMEOUT = 2.0


class EventListener:
    """Iterates the events on *channel* of a Redis, as dicts; needs no huey.

    *url_or_client* is a Redis URL, a `redis.Redis` or a `RedisEventEmitter`, *channel*
    what huey made of the queue's name. It subscribes when it is made. It waits for a
    Redis that is away, follows a name that leads to another master, and subscribes
    again; events published in between are lost to it, as always with pub/sub. `skipped`
    counts messages that are not events. Iteration ends with `close`, from any thread.
    """

    def __init__(
        self, url_or_client: "str | Redis | RedisEventEmitter", channel: str
    ) -> None:
        emitter = _emitter_of(url_or_client)
        self.channel: str = CHANNEL_NAME.checked(channel, f"channel={channel!r}")
        self.skipped = 0
        self._address = emitter.address
        self._away = False
        self._connections = emitter.connections
        self._closing = threading.Event()
        self._pause = 0.0
        self._subscription: Subscription | None = None
        self._subscribe()

    def __iter__(self) -> Iterator[Event]:
        try:
            while not self._closing.is_set():
                data = self._next_message()
                if data is None:
                    continue
                event = parse(data)
                if event is None:
                    self.skipped += 1
                else:
                    yield event
        finally:
            if self._closing.is_set():
                self._unsubscribe()

    def close(self) -> None:
        """End the iteration and the connection. Harmless when repeated."""
        self._closing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._unsubscribe()

    def _next_message(self) -> bytes | str | None:
        from redis.exceptions import RedisError

        if self._subscription is None and not self._subscribe():
            self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
            self._closing.wait(self._pause)
            return None
        try:
            message = cast("Subscription", self._subscription).get_message(
                ignore_subscribe_messages=True, timeout=_READ_TIMEOUT
            )
        except (RedisError, OSError) as error:
            self._log_away(error)
            if self._has_subscribed_again(error):
                self._closing.wait(_FIRST_PAUSE)
            else:
                self._unsubscribe()
            return None
        except ValueError:
            # The application's own connection class could not read it.
            self.skipped += 1
            return None
        self._away = False
        return None if message is None else message["data"]

    def _has_subscribed_again(self, error: Exception) -> bool:
        """Whether redis-py made the connection again before it raised *error*.

        Newer versions do; a second subscription would only lose events.
        """
        from redis.exceptions import ConnectionError as BrokenError

        connection = cast("Subscription", self._subscription).connection
        connected = getattr(connection, "is_connected", False)
        return isinstance(error, BrokenError) and bool(connected)

    def _subscribe(self) -> bool:
        """Subscribe, and wait until Redis says so; False when it is away."""
        from redis.exceptions import RedisError

        from huey_otel._redis.subscription import Subscription

        subscription = None
        try:
            subscription = Subscription(self._connections, self.channel, impatient=True)
            if subscription.get_message(timeout=_SUBSCRIBE_TIMEOUT) is None:
                raise OSError("no answer")
        except (RedisError, OSError, ValueError) as error:
            if subscription is not None:
                subscription.close()
            self._log_away(error)
            return False
        self._subscription = subscription
        self._pause = 0.0
        self._away = False
        return True

    def _log_away(self, error: Exception) -> None:
        """Log *error*, unless one was logged since the last success."""
        if self._away or self._closing.is_set():
            return
        self._away = True
        warn(
            "no events can be heard on %r at %s, trying again: %s",
            *(self.channel, self._address, said(error)),
        )

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()


def _emitter_of(url_or_client: object) -> RedisEventEmitter:
    if isinstance(url_or_client, RedisEventEmitter):
        return url_or_client
    if isinstance(url_or_client, str):
        return RedisEventEmitter(url=url_or_client)
    try:
        return RedisEventEmitter(client=cast("Redis", url_or_client))
    except TypeError:
        raise TypeError(
            f"EventListener({shown(url_or_client)}, ...): expected the URL of a Redis"
            " or a redis.Redis"
        ) from None


def parse(data: bytes | str) -> Event | None:
    """Read a message of the channel; None when it is not an event."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("status"), str):
        return cast("Event", value)
    return None
