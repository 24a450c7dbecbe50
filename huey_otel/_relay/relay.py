"""The relay: carries records from where they happen to the sinks, off a task's path.

In one process a deque and one thread; across forks a pipe that the consumer's
main process reads. It does no I/O but its pipe.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._otel.span_counts import SPANS
from huey_otel._relay.deaths import Deaths, Process
from huey_otel._relay.overflow import Sums
from huey_otel._relay.pipe import LOST, SUMS, Pipe, PipeReader, encode
from huey_otel._relay.thread import Rounds
from huey_otel._relay.writer import PipeWriter
from huey_otel._safety.forks import EXCLUSION, in_child
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES
from huey_otel._wire.record import Key, Record, Sum, record_of

T = TypeVar("T")

_LIMIT: Final = 50_000
"""Records that wait in one process before they are summed up."""

_SLICE: Final = 256
"""Records that are handled at a stretch; a fork waits for no more than that."""


class Relay:
    """Takes records in, and hands them out on its own thread.

    *deliver* gets each record, *deliver_sum* each sum of what did not fit.
    Starts nothing before the first record.
    """

    def __init__(
        self,
        deliver: Callable[[Record], None],
        deliver_sum: Callable[[Key, Sum], None],
    ) -> None:
        self._deliver = deliver
        self._deliver_sum = deliver_sum
        self._writer: PipeWriter | None = None
        self._pipe: Pipe | None = None
        self._begin()
        in_child(self._after_fork)

    def _begin(self) -> None:
        self.pid = os.getpid()
        self._records: deque[Record | threading.Event] = deque()
        self._sums = Sums()
        self._rounds = Rounds(self._round, self._idle, self._readable_later)
        self._reader: PipeReader | None = None
        self._deaths = Deaths()
        self._gone: deque[Record] = deque()

    @property
    def forked(self) -> bool:
        """True in a worker, whose records go through the pipe to its parent."""
        return self._writer is not None

    def send(self, record: Record, *, must: bool = False) -> bool:
        """Take *record* in; False if there was no room and it was summed up.

        *must* takes it in any case: for the end of what was announced.
        """
        if self._writer is not None:
            return self._writer.send(record, must=must)
        if len(self._records) >= _LIMIT and not must:
            self._sums.fold(record)
            if mapping.TABLE[record.status].published is not mapping.Published.NEVER:
                LOSSES.count(n.LOSS_RELAY, why="more events than this process handles")
            return False
        self._records.append(record)
        if self._rounds.asleep:
            self._rounds.rouse()
        return True

    def open_pipe(self) -> None:
        """Read what workers write that are forked from now on."""
        if self._writer is None and self._pipe is None:
            self._pipe = Pipe()
            self._reader = PipeReader(self._pipe.read_end)
            self._rounds.rouse()

    def watch(self, process: Process, gone: Record) -> None:
        """Send *gone* when *process* is dead and all that it wrote has been read."""
        if self._deaths.watch(process, gone):
            self._rounds.rouse()

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until what was sent is handled; True if so."""
        if self._writer is not None:
            return self._writer.drain(timeout)
        if not self._rounds.running:
            while self._round():
                pass
            return True
        handled = threading.Event()
        self._records.append(handled)
        self._rounds.rouse()
        return handled.wait(timeout)

    def _idle(self) -> bool:
        return not (self._records or self._gone)

    def _readable_later(self) -> list[int]:
        reader = [] if self._reader is None else [self._reader.end]
        return [*reader, *self._deaths.sentinels()]

    def _round(self) -> bool:
        """Handle what is there; True if there was anything."""
        busy = bool(self._bury())
        busy = bool(self._handle_records()) or busy
        return bool(self._handle_pipe()) or busy

    @guarded
    def _handle_records(self) -> bool:
        busy = bool(self._records)
        while self._records:
            for flushed in self._handle_some():
                self._read_what_is_there()
                flushed.set()
        if self._sums:
            LOSSES.recovered(n.LOSS_RELAY)
            self._handle_sums(self._sums.take())
        return busy

    def _handle_some(self) -> list[threading.Event]:
        flushed = []
        with EXCLUSION:
            for _ in range(min(_SLICE, len(self._records))):
                record = self._records.popleft()
                if isinstance(record, threading.Event):
                    flushed.append(record)
                else:
                    self._handle(record)
        return flushed

    def _read_what_is_there(self) -> None:
        self._bury()
        there = self._bytes_in_the_pipe() or 0
        while there > 0:
            there -= self._handle_pipe() or there

    @guarded
    def _bytes_in_the_pipe(self) -> int:
        return 0 if self._reader is None else self._reader.waiting()

    @guarded
    def _handle_pipe(self) -> int:
        """Read once; the bytes that it had."""
        if self._reader is None:
            return 0
        try:
            size, payloads = self._reader.read()
        except OSError:
            # Closed by somebody else: workers are heard no more, counted once.
            self._reader = self._pipe = None
            raise
        for some in _slices(payloads):
            with EXCLUSION:
                for payload in some:
                    self._handle_payload(payload)
        return size

    @guarded
    def _handle(self, record: Record) -> None:
        self._take(record)

    def _take(self, record: Record) -> None:
        if record.status == mapping.GONE:
            SPANS.gone(record.pid)
            if self._reader is not None:
                self._reader.forget(record.pid)
        self._deliver(record)

    @guarded
    def _handle_payload(self, payload: Any) -> None:
        kind = payload[0]
        if kind == SUMS:
            self._handle_sums(payload[1])
        elif kind == LOST:
            pid, taken = payload[1]
            for reason, number in taken.items():
                LOSSES.add(reason, number)
            SPANS.told(pid, sum(taken.get(one, 0) for one in n.LOSSES_OF_SPANS))
        else:
            self._take(record_of(payload))

    def _handle_sums(self, taken: Iterable[tuple[Key, Sum]]) -> None:
        with EXCLUSION:
            for key, total in taken:
                self._deliver_sum(key, total)

    @guarded
    def _bury(self) -> bool:
        """Put a `gone` for each dead worker into the pipe, behind all that it wrote."""
        for gone in self._dead():
            self._gone.append(gone._replace(timestamp=time.time()))
        busy = bool(self._gone)
        while self._gone:
            gone = self._gone[0]
            if self._pipe is None:
                self._records.append(gone)
            else:
                try:
                    for part in encode(tuple(gone), gone.pid):
                        os.write(self._pipe.write_end, part)
                except BlockingIOError:
                    # Full: it is read next, and then there is room.
                    break
            self._gone.popleft()
        return busy

    def _dead(self) -> list[Record]:
        try:
            return self._deaths.take()
        except (OSError, ValueError):
            # What cannot be asked any more is watched no more; the rest goes on.
            self._deaths.forget()
            raise

    def _after_fork(self) -> None:
        pipe, writer = self._pipe, self._writer
        self._rounds.close()
        self._pipe = None
        self._begin()
        if pipe is not None:
            # Closed already where somebody has closed all, as a daemon's set-up does.
            with contextlib.suppress(OSError):
                pipe.close_read_end()
            self._writer = PipeWriter(pipe.write_end)
        elif writer is not None:
            self._writer = PipeWriter(writer.end)


def _slices(items: Iterator[T]) -> Iterator[tuple[T, ...]]:
    while some := tuple(islice(items, _SLICE)):
        yield some
