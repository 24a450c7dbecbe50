"""Destinations: which feed takes the events of a huey, as its storage changes."""

from collections.abc import Iterator
from typing import Any

from huey.storage import RedisStorage

from huey_otel._options.settings import Settings
from huey_otel._redis.publisher import Publisher
from huey_otel._storage import emitter as _emitter
from huey_otel._storage.emitter import RedisEventEmitter, channel_of


class Destinations:
    """The feeds of one huey, and the one that takes events now.

    *given* is where the user wants them; None leaves it to the queue's storage.
    A feed stays when its storage goes, and delivers what it has: toggling
    `huey.immediate` makes a new storage each time.
    """

    def __init__(
        self, queue: str, settings: Settings, given: RedisEventEmitter | None
    ) -> None:
        self._queue = queue
        self._settings = settings
        self._given = given
        self._feeds: dict[tuple[str, str], Publisher] = {}
        self._out_of_reach = False
        self.current: Publisher | None = None

    def of(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Where events go while *storage* is the queue's, and on which channel."""
        own = _emitter.of_storage(storage)
        self._out_of_reach = own is None and isinstance(storage, RedisStorage)
        emitter = None if self._settings.events_off else self._given or own
        given = self._settings.channel or (emitter.channel if emitter else None)
        return emitter, channel_of(self._queue, storage, given)

    def choose(self, emitter: RedisEventEmitter | None, channel: str) -> None:
        """Publish on *channel* of *emitter* from now on; None for nowhere."""
        self.current = None
        if emitter is not None:
            known = (emitter.address, channel)
            if known not in self._feeds:
                self._feeds[known] = Publisher(emitter, channel)
            self.current = self._feeds[known]

    def __iter__(self) -> Iterator[Publisher]:
        return iter(list(self._feeds.values()))

    def close(self) -> None:
        """End all feeds; what they have not delivered by now is lost."""
        for feed in self:
            feed.close(0.0)

    def __str__(self) -> str:
        if self.current is not None:
            return f"on channel {self.current.channel!r} of {self.current.server}"
        if self._settings.events_off:
            return "off, events=None"
        if self._out_of_reach:
            return (
                "off, how the queue reaches its Redis cannot be taken over:"
                " pass events=RedisEventEmitter(url=...)"
            )
        return "off, the queue has no Redis; events= or HUEY_OTEL_EVENTS names one"
