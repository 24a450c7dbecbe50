"""The writer: a worker's end of the pipe, which never waits for its reader."""

import os
import select
import threading
import time
from collections import deque
from typing import Final

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._relay.backlog import Backlog
from huey_otel._relay.pipe import LOST, encode, plain
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import is_the_applications
from huey_otel._wire.record import Record
from huey_otel.mapping import Published

BACKLOG: Final = 1 << 20
"""Bytes that a worker keeps for a reader that is behind, before it sums up."""

_BEHIND: Final = "the consumer's main process is behind, events are summed up"


class PipeWriter:
    """Sends a worker's records, and keeps what does not fit for later.

    A thread that waits for room exists only while something is kept. A task's
    timeout may interrupt all of it anywhere: a record then is written once or,
    when it was not kept yet, not at all, and never without its other parts.
    """

    def __init__(self, end: int) -> None:
        self.end = end
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._incoming: deque[bytes] = deque()
        self._backlog = Backlog()
        self._flushing = False
        self._waiter: threading.Thread | None = None
        self._reader_gone = False

    @property
    def behind(self) -> bool:
        """True while something is kept."""
        return bool(self._incoming or self._backlog)

    def send(self, record: Record, *, must: bool = False) -> bool:
        """Write *record*, or keep it, or sum it up; False if it was summed up.

        *must* keeps it in any case: for the end of what was announced.
        """
        if self._reader_gone:
            return True
        try:
            parts = encode(tuple(record), self._pid)
        except ValueError:
            parts = encode(plain(record), self._pid)
        if LOSSES.pending:
            self._send_losses()
        # What has parts is kept before it is written, so that none is without others.
        if len(parts) == 1 and not self.behind and self._write(parts[0], must=must):
            return True
        kept = self._keep(parts, must=must)
        if not kept:
            self._sum_up(record)
        self.flush()
        self._wait_for_room()
        return kept

    def _write(self, frame: bytes, *, must: bool) -> bool:
        """Write *frame*; what *must* arrive is kept if we are interrupted before."""
        written: list[int] = []
        try:
            # One call of C, in which no signal is handled: it is in the list or not.
            written.extend(map(os.write, (self.end,), (frame,)))
        except BaseException as error:
            if isinstance(error, OSError) and not is_the_applications(error):
                # Full, or broken, which it says again when all is flushed.
                return False
            if must and not written:
                self._incoming.append(frame)
            raise
        return True

    def _keep(self, parts: list[bytes], *, must: bool) -> bool:
        with self._lock:
            # Nothing may change below a flush that a signal handler interrupted.
            if not must and not self._flushing:
                self._backlog.take_in(self._incoming)
                if self._backlog.size + sum(map(len, parts)) > BACKLOG:
                    return False
            self._incoming.extend(parts)
            return True

    def _sum_up(self, record: Record) -> None:
        with self._lock:
            self._backlog.sums.fold(record)
        if mapping.TABLE[record.status].published is not Published.NEVER:
            LOSSES.count(n.LOSS_RELAY, why=_BEHIND)

    def _send_losses(self) -> None:
        taken = LOSSES.take()
        try:
            self._incoming.extend(encode((LOST, (self._pid, taken)), self._pid))
        except BaseException:
            LOSSES.put_back(taken)
            raise

    def flush(self) -> bool:
        """Write what was kept, as far as there is room; True if nothing is left."""
        if not self.behind:
            return True
        with self._lock:
            if self._flushing:
                # In a signal handler; what it interrupted goes on with this.
                return False
            try:
                self._flushing = True
                self._write_what_fits()
            except BlockingIOError:
                return False
            except OSError as error:
                if is_the_applications(error):
                    raise
                # EPIPE, and no telemetry for nobody; or somebody has closed our end.
                self._reader_gone = True
                self._incoming.clear()
                self._backlog = Backlog()
            finally:
                self._flushing = False
        LOSSES.recovered(n.LOSS_RELAY)
        return True

    def _write_what_fits(self) -> None:
        while self.behind:
            self._backlog.take_in(self._incoming)
            self._backlog = self._backlog.rest(self._pid)
            self._backlog.write(self.end)
        self._backlog = self._backlog.rest(self._pid)

    def drain(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until all that was kept is out; True if so."""
        if LOSSES.pending:
            self._send_losses()
        deadline = time.monotonic() + timeout
        while not self.flush():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._room(left)
        return True

    def _room(self, timeout: float) -> None:
        poller = select.poll()
        poller.register(self.end, select.POLLOUT)
        poller.poll(timeout * 1000)

    def _wait_for_room(self) -> None:
        if not self.behind:
            return
        with self._lock:
            if self._waiter is not None:
                return
            waiter = threading.Thread(
                target=self._when_there_is_room, name="huey-otel-backlog", daemon=True
            )
            try:
                self._waiter = waiter
                waiter.start()
            except BaseException as error:
                # Without a thread, as at exit, the next record or the drain goes on.
                self._waiter = None
                if not isinstance(error, RuntimeError) or is_the_applications(error):
                    raise

    @guarded
    def _when_there_is_room(self) -> None:
        me = threading.current_thread()
        try:
            while self._waiter is me and not self.flush():
                self._room(1.0)
        finally:
            if self._waiter is me:
                self._waiter = None
        # Something may have been kept after the last flush found nothing.
        self._wait_for_room()
