"""The outbox of log records: events that wait for their export, bounded, in batches."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from huey_otel._wire.record import Record, Source

BATCH: Final = 512
"""Events of one export, at most."""

DELAY: Final = 1.0
"""Seconds that the first event of a batch waits for others, at most."""

LARGEST: Final = 8 << 20
"""Bytes of events that wait, roughly; then the oldest go."""

_EVENT: Final = 512
"""Bytes of an event beside its traceback, roughly."""

_COUNTING: Final = 0.1
"""Seconds that the end waits for a count and its line in the log, at most."""


class Numbered(NamedTuple):
    """An event and its number."""

    record: Record
    source: Source
    seq: int

    @property
    def size(self) -> int:
        """Its bytes, roughly."""
        extra = self.record.extra or {}
        return _EVENT + len(extra.get("traceback") or "")


class LogOutbox:
    """The bounded queue from the relay's thread to that of log records, closed once.

    Each event is in it until it is settled: it has arrived, or is counted as lost.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Numbered] = deque()
        self._bytes = 0
        self._unsettled = 0
        self._awaited = False
        self._hurried = False
        self._flushes = 0
        self._settling = False
        self.closed = False

    def put(self, event: Numbered) -> int:
        """Append *event*; how many of the oldest were dropped."""
        dropped = 0
        with self._changed:
            if self.closed:
                return 1
            self._waiting.append(event)
            self._bytes += event.size
            while self._bytes > LARGEST:
                self._bytes -= self._waiting.popleft().size
                dropped += 1
            if self._awaited or len(self._waiting) == BATCH:
                self._changed.notify_all()
        return dropped

    def wait(self) -> bool:
        """Wait until a batch is due; False once closed."""
        with self._changed:
            self._awaited = True
            self._changed.wait_for(lambda: self.closed or self._waiting)
            self._awaited = False
            self._changed.wait_for(self._is_due, DELAY)
            return not self.closed

    def _is_due(self) -> bool:
        hurried = self.closed or self._hurried or self._flushes
        return bool(hurried or len(self._waiting) >= BATCH)

    def take(self) -> list[Numbered]:
        """The events of one export."""
        with self._changed:
            number = min(len(self._waiting), BATCH)
            taken = [self._waiting.popleft() for _ in range(number)]
            self._bytes -= sum(event.size for event in taken)
            self._unsettled = len(taken)
        return taken

    @contextmanager
    def settling(self, arrived: int, lost: int) -> Iterator[tuple[int, int]]:
        """Settle events that were taken; the block counts those that are lost.

        Yields how many of both were not settled, as `close` settles all.
        """
        with self._changed:
            arrived = min(arrived, self._unsettled)
            self._unsettled -= arrived
            lost = min(lost, self._unsettled)
            self._unsettled -= lost
            self._settling = True
        try:
            yield arrived, lost
        finally:
            with self._changed:
                self._settling = False
                if not self._unsettled:
                    self._hurried &= bool(self._waiting)
                    self._changed.notify_all()

    def hurry(self) -> None:
        """Let no event that is here now wait for others."""
        with self._changed:
            self._hurried = bool(self._waiting)
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all events are settled; True if so."""
        with self._changed:
            self._flushes += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(self._is_empty, timeout)
            finally:
                self._flushes -= 1

    def _is_empty(self) -> bool:
        return not (self._waiting or self._unsettled or self._settling)

    def close(self) -> int:
        """End all waiting; how many events are not settled."""
        with self._changed:
            self.closed = True
            left = len(self._waiting) + self._unsettled
            self._waiting.clear()
            self._bytes = self._unsettled = 0
            self._changed.notify_all()
            # What is being counted must be so before the process ends.
            self._changed.wait_for(lambda: not self._settling, _COUNTING)
        return left
