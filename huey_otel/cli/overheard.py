"""What is published and not in the stream: its consumers write none, or Redis refuses.

A person who watches the stream would otherwise see nothing just when Redis has no
memory left.
"""

import threading
import time
from collections import OrderedDict
from typing import Final

from huey_otel._redis.channel_reader import ChannelReader
from huey_otel._redis.listener import parse
from huey_otel.cli.sources import Source
from huey_otel.cli.untraced import untraced
from huey_otel.events import Event

_PATIENCE: Final = 3.0
"""Seconds after which an event that was published should have come from the stream."""

_PAUSE: Final = 5.0
_MOST: Final = 10_000

_Key = tuple[str, int]


class Overheard:
    """Hears the channel of *source*, on a thread, while its stream is read."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._published: OrderedDict[_Key, tuple[float, Event]] = OrderedDict()
        self._shown: OrderedDict[_Key, None] = OrderedDict()
        self._late = 0
        threading.Thread(
            target=self._listen, name="huey-otel-overhearing", daemon=True
        ).start()

    def is_new(self, event: Event) -> bool:
        """Note *event*, which comes from the stream; False if `late` has shown it."""
        key = _key_of(event)
        if key is None:
            return True
        with self._lock:
            self._published.pop(key, None)
            new = self._show(key)
            if not new:
                self._late -= 1
        return new

    def late(self) -> list[Event]:
        """Those that should have come from the stream; call it while that is silent."""
        until = time.monotonic() - _PATIENCE
        late: list[Event] = []
        with self._lock:
            for key, (when, event) in list(self._published.items()):
                if when > until:
                    break
                del self._published[key]
                self._show(key)
                late.append(event)
        self._late += len(late)
        return late

    def still(self, missing: int) -> int:
        """How many of *missing* events, of which the stream knows, were not shown."""
        late = max(0, min(missing, self._late))
        self._late -= late
        return missing - late

    def _show(self, key: _Key) -> bool:
        if key in self._shown:
            return False
        self._shown[key] = None
        if len(self._shown) > _MOST:
            self._shown.popitem(last=False)
        return True

    @untraced()
    def _listen(self) -> None:
        from redis import RedisError

        reader = ChannelReader(self.source.redis.connections, self.source.channel)
        while True:
            try:
                if not reader.is_open:
                    reader.open()
                bodies = reader.read()
            except (RedisError, OSError):
                # What is wrong with that Redis the reader of the stream says.
                reader.close()
                time.sleep(_PAUSE)
                continue
            for event in filter(None, map(parse, bodies)):
                self._add(event)

    def _add(self, event: Event) -> None:
        key = _key_of(event)
        if key is None:
            return
        with self._lock:
            if key not in self._shown:
                self._published[key] = time.monotonic(), event
            if len(self._published) > _MOST:
                self._published.popitem(last=False)


def _key_of(event: Event) -> _Key | None:
    """By what an event is known, None if it has no number."""
    publisher, seq = event.get("publisher"), event.get("seq")
    if type(publisher) is not str or type(seq) is not int:
        return None
    return publisher, seq
