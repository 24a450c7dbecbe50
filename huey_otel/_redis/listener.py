"""The listener: iterates the events that a consumer publishes on Redis."""

import json
import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from huey_otel._options.values import CHANNEL_NAME
from huey_otel._redis.channel_reader import ChannelReader
from huey_otel._redis.heard import Heard
from huey_otel._redis.position import since_of
from huey_otel._redis.stream import key_of
from huey_otel._redis.stream_reader import StreamReader
from huey_otel._safety import encodable
from huey_otel._safety.log import warn
from huey_otel._safety.redaction import said, shown
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel.events import Event

if TYPE_CHECKING:
    from redis import Redis

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class _Reader(Protocol):
    """Where events are read; `open` and `read` raise RedisError or OSError."""

    @property
    def is_open(self) -> bool:
        """Whether `read` may be called."""

    def open(self) -> None:
        """Connect."""

    def read(self) -> Iterable[Any]:
        """What has come, in JSON or None; waits a second for it."""

    def failed(self, error: Exception) -> None:
        """Connect again at the next `open`, or go on."""

    def close(self) -> None:
        """End the connection."""


class EventListener:
    """Iterates the events on *channel* of a Redis, as dicts. Needs no huey.

    *url_or_client* is a Redis URL, a `redis.Redis` or a `RedisEventEmitter`. *channel*
    is the queue's name as huey spells it. The constructor subscribes. If Redis goes
    away, or its name leads to another master, the listener logs that and subscribes
    again. It misses the events published in between, as always with pub/sub, and
    `missed` counts them. `away` says why no event can be heard now; it is None while
    events are heard. `skipped` counts messages that are not events. `close`, from any
    thread, ends the iteration.

    With *stream* it reads a stream, which consumers write with `stream=`: the channel's
    own for True, or the one under that key. *since* says where to begin: a `position`
    of an earlier listener, an id, a time ago such as "10m" by the clock of Redis, or
    "beginning"; None begins with what comes from now on. It misses nothing that Redis
    still has. Raises TypeError or ValueError for any other *since*, and for an id in
    the future, as soon as Redis answers.
    """

    def __init__(
        self,
        url_or_client: "str | Redis | RedisEventEmitter",
        channel: str,
        *,
        stream: bool | str | None = None,
        since: str | None = None,
    ) -> None:
        emitter = _emitter_of(url_or_client)
        self.channel: str = CHANNEL_NAME.checked(channel, f"channel={channel!r}")
        key = _key_of(stream, channel)
        if key is None and since is not None:
            raise ValueError(
                f"since={shown(since)}: expected stream=True as well, or since=None;"
                " without a stream Redis keeps no events"
            )
        self.skipped = 0
        self.away: str | None = None
        self._heard = Heard()
        self._where = f"{self.channel!r} at {emitter.address}"
        self._closing = threading.Event()
        self._pause = 0.0
        self._stream: StreamReader | None = None
        self._reader: _Reader
        if key is None:
            self._reader = ChannelReader(emitter.connections, self.channel)
        else:
            self._reader = self._stream = StreamReader(
                emitter.connections, key, since_of(since), self._is_known
            )
        self._open()

    @property
    def missed(self) -> int:
        """How many events are missing after the first one of each publisher.

        Exact once each publisher was heard again, and never too high.
        """
        return self._heard.missed

    @property
    def repeated(self) -> int:
        """How many events came twice. They were yielded once."""
        return self._heard.repeated

    @property
    def position(self) -> str | None:
        """The place after the last event that was yielded, for `since=` of a listener.

        None without a stream, and until Redis has answered.
        """
        position = None if self._stream is None else self._stream.position
        return None if position is None else str(position)

    @property
    def trimmed(self) -> int | None:
        """How many events after *since* Redis had dropped before they were read.

        None without a stream, before Redis 7, and if *since* is an id or a time that
        the stream no longer reaches.
        """
        return None if self._stream is None else self._stream.trimmed

    def __iter__(self) -> Iterator[Event]:
        try:
            while not self._closing.is_set():
                for data in self._read():
                    event = parse(data)
                    if event is None:
                        self.skipped += 1
                    elif self._heard.is_new(event):
                        yield event
                    if self._closing.is_set():
                        break
        finally:
            if self._closing.is_set():
                self._reader.close()

    def close(self) -> None:
        """End the iteration and the connection. Harmless when repeated."""
        self._closing.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._reader.close()

    def _read(self) -> Iterable[Any]:
        from redis.exceptions import RedisError

        if not self._reader.is_open and not self._open():
            self._wait()
            return ()
        try:
            read = self._reader.read()
        except (RedisError, OSError) as error:
            self._log_away(error)
            self._reader.failed(error)
            self._wait()
            return ()
        # Only now: a server may take a subscription, and end the connection.
        self._pause = 0.0
        self._log_heard()
        return read

    def _wait(self) -> None:
        """Let a server that fails again and again have longer and longer pauses."""
        self._closing.wait(self._pause)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)

    def _open(self) -> bool:
        """Connect; False when Redis is away."""
        from redis.exceptions import RedisError

        try:
            self._reader.open()
        except (RedisError, OSError) as error:
            self._log_away(error)
            return False
        return True

    def _is_known(self, data: Any) -> bool:
        event = parse(data)
        return event is not None and self._heard.has(event)

    def _log_away(self, error: Exception) -> None:
        """Log *error*, unless one was logged since the last success."""
        if self.away is not None or self._closing.is_set():
            return
        self.away = said(error)
        warn("no events can be heard on %s, trying again: %s", self._where, self.away)

    def _log_heard(self) -> None:
        if self.away is not None:
            self.away = None
            # A warning, as the one before it: both or none are read.
            warn("events are heard again on %s", self._where)


def _key_of(stream: object, channel: str) -> str | None:
    """The key that *stream* means; TypeError or ValueError if it means none."""
    if stream is None or stream is False:
        return None
    if stream is True:
        return key_of(channel)
    wrong = f"stream={shown(stream)}: expected True, the key of a stream, or None"
    if not isinstance(stream, str):
        raise TypeError(wrong)
    if not stream or encodable.text(stream) != stream:
        raise ValueError(wrong)
    return stream


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
    except (TypeError, ValueError, RecursionError):
        return None
    if isinstance(value, dict) and isinstance(value.get("status"), str):
        return cast("Event", value)
    return None
