"""The storage's mixin: events can be listened to on it, as in huey 1.x."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from huey.exceptions import ConfigurationError
from huey.storage import BaseStorage

from huey_otel._emitter import RedisEventEmitter
from huey_otel._listener import EventListener
from huey_otel.events import Event
from huey_otel.observed.naming import put_back, swap

if TYPE_CHECKING:
    from redis.client import PubSub


class ObservedStorage(BaseStorage):
    """Reads the events of its queue: iterated as dicts, or raw by `listener`."""

    _huey_otel_events: "tuple[RedisEventEmitter | None, str]"

    def __iter__(self) -> Iterator[Event]:
        emitter, channel = self._events()
        return _all_of(EventListener(emitter.client(), channel))

    def listener(self) -> "PubSub":
        """A `redis.client.PubSub` that is subscribed; `data` of a message is JSON."""
        emitter, channel = self._events()
        pubsub: PubSub = emitter.client().pubsub()
        pubsub.subscribe(channel)
        return pubsub

    def _events(self) -> tuple[RedisEventEmitter, str]:
        emitter, channel = self._huey_otel_events
        if emitter is None:
            kind = type(self).__name__
            raise ConfigurationError(
                f"{kind} has no Redis that carries events: pass"
                " events=RedisEventEmitter(url=...) to instrument(), or set"
                " HUEY_OTEL_EVENTS=redis://..."
            )
        return emitter, channel


def _all_of(listener: EventListener) -> Iterator[Event]:
    """Iterate *listener*, which nobody else has: leaving the loop closes it."""
    with listener:
        yield from listener


def observe(storage: Any, emitter: RedisEventEmitter | None, channel: str) -> None:
    """Swap *storage*'s class; its events are on *channel* of *emitter*'s Redis."""
    if isinstance(storage, BaseStorage):
        swap(storage, ObservedStorage)
        observed: Any = type(storage)
        observed._huey_otel_events = (emitter, channel)


def observed(storage: Any) -> bool:
    """Whether there is nothing left to observe of *storage*."""
    return isinstance(storage, ObservedStorage) or not isinstance(storage, BaseStorage)


def release(storage: Any) -> None:
    """Put *storage*'s own class back."""
    if isinstance(storage, ObservedStorage):
        put_back(storage)
