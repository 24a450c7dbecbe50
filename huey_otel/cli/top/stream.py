"""The stream of a queue's events, followed on a thread for what fails."""

import threading
import time
from typing import Final

from huey_otel._redis.listener import EventListener
from huey_otel._redis.position import Position, id_of
from huey_otel.cli.sources import Source
from huey_otel.cli.top.failures import SECONDS, Failures
from huey_otel.cli.untraced import untraced

_LOOK_AFTER: Final = 5.0
"""Seconds between two looks whether there is a stream by now."""

_LONGEST_WAIT: Final = 5.0
_PAUSE: Final = 0.01


class FollowedStream:
    """Follows the stream of *source* once there is one; tells *failures* its events."""

    def __init__(self, source: Source, failures: Failures) -> None:
        self._source = source
        self._failures = failures
        self._due = 0.0
        self._listener: EventListener | None = None
        self._failed: Exception | None = None
        self._refused = ""

    @property
    def trouble(self) -> str:
        """Why it cannot be read though there is something, empty if it can."""
        if self._listener is None:
            return self._refused
        return self._listener.away or ""

    @property
    def is_there(self) -> bool:
        """Whether there is a stream, as far as is known."""
        return self._listener is not None

    @property
    def missed(self) -> int:
        """Events that are missing."""
        return 0 if self._listener is None else self._listener.missed

    @property
    def trimmed(self) -> int | None:
        """Events that Redis had dropped before they were read, None if unknown."""
        return 0 if self._listener is None else self._listener.trimmed

    def look(self) -> None:
        """Begin to follow the stream if it is there; Redis is not asked each time.

        Raises what ended the thread that follows it.
        """
        if self._failed is not None:
            raise self._failed
        if self._listener is not None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _LOOK_AFTER
        refused = self._source.refused()
        self._refused = refused or ""
        if refused != "":
            return
        self._listener = EventListener(
            self._source.redis,
            self._source.channel,
            stream=self._source.key,
            since=f"{SECONDS:.0f}s",
        )
        threading.Thread(
            target=self._follow,
            args=(self._listener,),
            name="huey-otel-stream",
            daemon=True,
        ).start()

    def catch_up(self) -> None:
        """Wait until all that the stream has now is read, some seconds at most."""
        if self._listener is None:
            return
        last = self._source.end()
        until = time.monotonic() + _LONGEST_WAIT
        while last is not None and time.monotonic() < until:
            position = Position.of(self._listener.position or "")
            if position is not None and position.id >= id_of(last):
                return
            time.sleep(_PAUSE)

    def close(self) -> None:
        """Follow it no longer."""
        if self._listener is not None:
            self._listener.close()

    @untraced()
    def _follow(self, listener: EventListener) -> None:
        try:
            for event in listener:
                position = Position.of(listener.position or "")
                # By the server's clock: those of consumers may be wrong.
                at = time.time() if position is None else position.id[0] / 1_000
                self._failures.take(event, at)
        except Exception as error:  # noqa: BLE001 - whatever it is, `look` raises it
            self._failed = error
