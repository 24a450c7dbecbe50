"""A worker's end of the pipe, which never waits for its reader."""

import os
import select
import threading
import time
from collections import deque
from typing import Final

from huey_otel import _names as n
from huey_otel._otel.span_counts import SPANS
from huey_otel._relay.overflow import Overflow
from huey_otel._relay.pipe import LOST, encode
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import is_the_applications
from huey_otel._wire.record import Record
from huey_otel.mapping import TABLE

BACKLOG: Final = 1 << 20
"""Bytes that a worker keeps for a reader that is behind, before it sums up."""

TELL_AFTER: Final = 1.0
"""Seconds from a loss until it is written, if no record takes it along before."""


class PipeWriter:
    """Writes records, and keeps the frames that do not fit until there is room.

    A thread exists only while something is kept, or a loss is to be told. If a signal
    handler raises in here, at most the frame that is being written is lost.
    """

    def __init__(self, end: int) -> None:
        self.end = end
        self._pid = os.getpid()
        # Reentrant: a signal handler may send records while one is kept.
        self._lock = threading.RLock()
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._overflow = Overflow()
        self._flushing = False
        self._waiter: threading.Thread | None = None
        self.reader_gone = False
        # A worker that is idle may have a thread that learns of losses.
        LOSSES.heard_by(self._flush_later)

    @property
    def behind(self) -> bool:
        """True while something is kept."""
        return bool(self._frames or self._overflow or self._flushing)

    def send(self, record: Record, *, must: bool = False) -> bool:
        """Write *record*, or keep it, or sum it up; False if it was summed up.

        *must* keeps it in any case: for the end of what was announced.
        """
        if self.reader_gone:
            return True
        if LOSSES.pending:
            self._keep_losses()
        frames = encode(record, self._pid)
        if len(frames) == 1 and not self.behind and self._write(frames[0]):
            return True
        kept = self._keep(record, frames, must=must)
        if not kept and TABLE[record.status].is_event:
            why = "the consumer's main process is behind, events are summed up"
            LOSSES.count(n.LOSS_RELAY, why=why)
        self.flush()
        self._flush_later()
        return kept

    def _write(self, frame: bytes) -> bool:
        """Write *frame*; False where there is no room for it."""
        try:
            os.write(self.end, frame)
        except BlockingIOError:
            return False
        except OSError as error:
            if is_the_applications(error):
                raise
            # The reader is gone (EPIPE), or our end was closed: stop sending.
            self.reader_gone = True
            self._frames.clear()
            self._overflow = Overflow()
        return True

    def _keep(self, record: Record, frames: list[bytes], *, must: bool) -> bool:
        size = sum(map(len, frames))
        with self._lock:
            if not must and self._size + size > BACKLOG:
                self._overflow.add(record)
                return False
            self._frames.extend(frames)
            self._size += size
            return True

    def _keep_losses(self) -> None:
        taken = [(*whose, number) for whose, number in LOSSES.take().items()]
        if taken:
            counts_are_shared = int(SPANS.here.shared)
            now, pid = time.time(), self._pid
            fields = (now, pid, counts_are_shared, None, None, None, {"losses": taken})
            losses = Record(0, LOST, *fields)
            self._keep(losses, encode(losses, pid), must=True)

    def flush(self) -> bool:
        """Write what is kept, as far as there is room; True if nothing is left."""
        if not self.behind:
            return True
        with self._lock:
            if self._flushing:
                # A signal handler called us; the flush it interrupted goes on later.
                return False
            self._flushing = True
            try:
                while (self._frames or self._overflow) and self._write_next():
                    pass
            finally:
                self._flushing = False
            if self._frames:
                return False
            # An interrupt may have come between the frames and their size.
            self._size = 0
        LOSSES.recovered(n.LOSS_RELAY)
        return True

    def _write_next(self) -> bool:
        if not self._frames:
            sums = self._overflow.records()
            frames = deque(frame for one in sums for frame in encode(one, self._pid))
            self._frames, self._overflow = frames, Overflow()
            self._size = sum(map(len, self._frames))
        # Taken out first: an interrupt may lose a frame, but not count it twice.
        frame = self._frames.popleft()
        if not self._write(frame):
            self._frames.appendleft(frame)
            return False
        self._size -= len(frame)
        return True

    def drain(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all that was kept is out; True if so."""
        if LOSSES.pending:
            self._keep_losses()
        deadline = time.monotonic() + timeout
        while not self.flush():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._wait_for_room(left)
        return True

    def _wait_for_room(self, timeout: float) -> None:
        poller = select.poll()
        poller.register(self.end, select.POLLOUT)
        poller.poll(timeout * 1000)

    def _flush_later(self) -> None:
        """Start the thread that writes what is kept or lost, if there is none."""
        waiter = self._waiter
        busy = waiter is not None and waiter.is_alive()
        if busy or self.reader_gone or not (self.behind or LOSSES.pending):
            return
        self._waiter = waiter = threading.Thread(
            target=self._flush_when_there_is_room, name="huey-otel-backlog", daemon=True
        )
        try:
            waiter.start()
        except RuntimeError as error:
            # No thread starts at exit; the next record tries again, or drain() does it.
            if is_the_applications(error):
                raise

    @guarded
    def _flush_when_there_is_room(self) -> None:
        pid = os.getpid()
        while self.behind or LOSSES.pending:
            if LOSSES.pending:
                # Many losses, as of a queue that is full, are few records.
                time.sleep(TELL_AFTER)
            else:
                self._wait_for_room(1.0)
            stay_where_forked(pid)
            if self.reader_gone:
                return
            if LOSSES.pending:
                self._keep_losses()
            self.flush()
        self._waiter = None
        # Something may have been kept after the last flush found nothing.
        self._flush_later()
