"""The mixin of a storage: its events can be listened to, as in huey 1.x."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from huey.exceptions import ConfigurationError
from huey.storage import BaseStorage

from huey_otel._safety.swapping import put_back, swap
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel.events import Event

if TYPE_CHECKING:
    from redis.client import PubSub

    from huey_otel._redis.listener import EventListener


class ObservedStorage(BaseStorage):
    """Reads the events of its queue: iterated as dicts, or raw by `listener`."""

    _huey_otel_events: "tuple[RedisEventEmitter | None, str]"

    def __iter__(self) -> Iterator[Event]:
        # Most processes only write.
        from huey_otel._redis.listener import EventListener

        emitter, channel = self._events()
        return _all_of(EventListener(emitter, channel))

    def listener(self) -> "PubSub":
        """A `redis.client.PubSub` that is subscribed; `data` of a message is JSON."""
        emitter, channel = self._events()
        from huey_otel._redis.subscription import Subscription

        return Subscription(emitter.connections, channel)

    def _events(self) -> tuple[RedisEventEmitter, str]:
        emitter, channel = self._huey_otel_events
        if emitter is None:
            kind = type(self).__name__
            raise ConfigurationError(
                f"no Redis carries the events of {kind}: pass"
                " events=RedisEventEmitter(url=...) to instrument(), or set"
                " HUEY_OTEL_EVENTS=redis://..."
            )
        return emitter, channel


def _all_of(listener: "EventListener") -> Iterator[Event]:
    """Iterate *listener*, and close it when the loop is left."""
    with listener:
        yield from listener


def observe(storage: Any, emitter: RedisEventEmitter | None, channel: str) -> None:
    """Swap *storage*'s class; its events are on *channel* of *emitter*'s Redis."""
    if isinstance(storage, BaseStorage):
        swap(storage, ObservedStorage)
        observed: Any = type(storage)
        observed._huey_otel_events = (emitter, channel)


def release(storage: Any) -> None:
    """Put *storage*'s own class back."""
    if isinstance(storage, ObservedStorage):
        put_back(storage)
