"""The outbox: events that wait for Redis, and those whose answer is awaited."""

import threading
from collections import deque
from typing import Final

BOUND: Final = 8 << 20
"""Bytes of events that wait for Redis; then the oldest go."""

_WINDOW: Final = 16 << 10
"""Bytes that are sent before answers are awaited."""


class Outbox:
    """A bounded queue between the relay's thread and the feed's, closed once."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._sending = 0
        self._awaited = False
        self.closed = False

    def put(self, payload: bytes) -> int:
        """Append *payload*; how many of the oldest had to go."""
        dropped = 0
        with self._changed:
            self._waiting.append(payload)
            self._bytes += len(payload)
            while self._bytes > BOUND:
                self._bytes -= len(self._waiting.popleft())
                dropped += 1
            if self._awaited:
                self._changed.notify_all()
        return dropped

    def wait(self, pause: float) -> bool:
        """Wait for events, and at least *pause* seconds; False once closed."""
        with self._changed:
            if pause:
                self._changed.wait_for(lambda: self.closed, pause)
            self._awaited = True
            self._changed.wait_for(lambda: self.closed or self._waiting)
            self._awaited = False
            return not self.closed

    def take(self) -> list[bytes]:
        """As many events as are sent in one go, at least one if any waits."""
        taken: list[bytes] = []
        room = _WINDOW
        with self._changed:
            while self._waiting and (not taken or len(self._waiting[0]) <= room):
                payload = self._waiting.popleft()
                room -= len(payload)
                self._bytes -= len(payload)
                taken.append(payload)
            self._sending = len(taken)
        return taken

    def answered(self) -> None:
        """One of those that were taken has arrived; says who has taken them."""
        if self._sending > 1:
            # Nobody waits for that, and nobody else changes it but at the end of all.
            self._sending -= 1
            return
        with self._changed:
            self._sending = max(0, self._sending - 1)
            if not self._sending:
                self._changed.notify_all()

    def give_up(self) -> int:
        """Await no more answers; how many were awaited."""
        with self._changed:
            lost, self._sending = self._sending, 0
            self._changed.notify_all()
        return lost

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all events have arrived; True if so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._sending, timeout
            )

    def close(self) -> int:
        """End all waiting; how many events had not arrived."""
        with self._changed:
            self.closed = True
            left = len(self._waiting) + self._sending
            self._waiting.clear()
            self._bytes = self._sending = 0
            self._changed.notify_all()
        return left
