"""Destinations: which publisher takes the events of a huey, as its storage changes."""

from collections.abc import Iterator
from typing import Any

from huey.storage import RedisStorage

from huey_otel._options.settings import Settings
from huey_otel._redis.publisher import Publisher
from huey_otel._storage import emitter as _emitter
from huey_otel._storage.emitter import RedisEventEmitter, channel_of


class Destinations:
    """The publishers of one huey, and the `current` one, None for no events.

    A publisher stays when its storage goes, and delivers what it has: toggling
    `huey.immediate` makes a new storage each time.
    """

    def __init__(self, queue: str, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings
        self._publishers: dict[tuple[str, str], Publisher] = {}
        self._out_of_reach = False
        self.current: Publisher | None = None

    def of(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Where events go while *storage* is the queue's, and on which channel."""
        own = _emitter.of_storage(storage)
        self._out_of_reach = own is None and isinstance(storage, RedisStorage)
        emitter = own
        if not isinstance(self._settings.events, bool):
            emitter = self._settings.events
        elif self._settings.events is False:
            emitter = None
        given = self._settings.channel or (emitter.channel if emitter else None)
        return emitter, channel_of(self._queue, storage, given)

    def choose(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Publish where `of` says for *storage* from now on, and return that."""
        self.current = None
        emitter, channel = self.of(storage)
        if emitter is not None:
            known = (emitter.address, channel)
            if known not in self._publishers:
                self._publishers[known] = Publisher(emitter, channel)
            self.current = self._publishers[known]
        return emitter, channel

    def __iter__(self) -> Iterator[Publisher]:
        return iter(list(self._publishers.values()))

    def close(self) -> None:
        """End all publishers; what they have not delivered by now is lost."""
        for publisher in self:
            publisher.close(0.0)

    def __str__(self) -> str:
        if self.current is not None:
            return f"on channel {self.current.channel!r} of {self.current.server}"
        if self._settings.events is False:
            return "off, events=None"
        if self._out_of_reach:
            return (
                "off, how the queue reaches its Redis cannot be taken over:"
                " pass events=RedisEventEmitter(url=...)"
            )
        return "off, the queue has no Redis; events= or HUEY_OTEL_EVENTS names one"
