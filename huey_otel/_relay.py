"""The relay: carries records from where they happen to the sinks, off a task's path.

In one process a deque and one thread; across forks a pipe that the consumer's
main process reads. It does no I/O but its pipe.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._forks import EXCLUSION, in_child
from huey_otel._guard import guarded
from huey_otel._losses import LOSSES
from huey_otel._pipe import LOST, SUMS, Pipe, PipeReader, PipeWriter, encode
from huey_otel._records import Key, Record, Sum
from huey_otel._sums import Sums
from huey_otel._waker import Waker

T = TypeVar("T")

_LIMIT: Final = 50_000
"""Records that wait in one process before they are summed up."""

_LINGER: Final = 0.02
"""Seconds between two rounds under load, so that a round has many records."""

_SLICE: Final = 256
"""Records that are handled at a stretch; a fork waits for no more than that."""


class Process(Protocol):
    """The part of `multiprocessing.Process` that tells of a death."""

    @property
    def sentinel(self) -> int: ...
    def is_alive(self) -> bool: ...


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
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._waker: Waker | None = None
        self._reader: PipeReader | None = None
        self._watched: list[tuple[Process, Record]] = []
        self._gone: deque[Record] = deque()
        self._starting = threading.RLock()

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
        if self._asleep:
            self._rouse()
        return True

    def open_pipe(self) -> None:
        """Read what workers write that are forked from now on."""
        if self._writer is None and self._pipe is None:
            self._pipe = Pipe()
            self._reader = PipeReader(self._pipe.read_end)
            self._rouse()

    def watch(self, process: Process, gone: Record) -> None:
        """Send *gone* when *process* is dead and all that it wrote has been read."""
        if all(watched is not process for watched, _ in self._watched):
            self._watched = [*self._watched, (process, gone)]
            self._rouse()

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until what was sent is handled; True if so."""
        if self._writer is not None:
            return self._writer.drain(timeout)
        if self._thread is None or not self._thread.is_alive():
            while self._round():
                pass
            return True
        handled = threading.Event()
        self._records.append(handled)
        self._rouse()
        return handled.wait(timeout)

    def _rouse(self) -> None:
        self._asleep = False
        if self._thread is None:
            self._start()
        elif self._waker is not None:
            self._waker.poke()

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            self._waker = Waker()
            thread = threading.Thread(
                target=self._run, name="huey-otel-relay", daemon=True
            )
            self._thread = thread
            try:
                thread.start()
            finally:
                # Refused while the interpreter goes down, or a task's timeout came
                # in between; the next record, or the flush at exit, tries again.
                if thread.ident is None:
                    self._thread = None

    def _run(self) -> None:
        thread = self._thread
        while self._thread is thread:
            if self._round():
                self._wait(_LINGER)
                continue
            self._asleep = True
            if not (self._records or self._gone) and self._wait(None) is None:
                # What cannot be polled is watched no more; the rest goes on.
                self._watched = []
            self._asleep = False

    @guarded
    def _wait(self, seconds: float | None) -> bool:
        """Wait for a poke; when that may last, for the pipe and for deaths as well."""
        also = []
        if seconds is None:
            if self._pipe is not None:
                also.append(self._pipe.read_end)
            also.extend(process.sentinel for process, _ in self._watched)
        if self._waker is not None:
            self._waker.wait(seconds, also)
        return True

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
        there = 0 if self._reader is None else self._reader.waiting()
        while there > 0:
            there -= self._handle_pipe() or there

    @guarded
    def _handle_pipe(self) -> int:
        """Read once; the bytes that it had."""
        if self._reader is None:
            return 0
        size, payloads = self._reader.read()
        for some in _slices(payloads):
            with EXCLUSION:
                for payload in some:
                    self._handle_payload(payload)
        return size

    @guarded
    def _handle(self, record: Record) -> None:
        self._deliver(record)

    @guarded
    def _handle_payload(self, payload: Any) -> None:
        match payload:
            case (str() as kind, taken) if kind == SUMS:
                self._handle_sums(taken)
            case (str() as kind, taken) if kind == LOST:
                for reason, number in taken.items():
                    LOSSES.add(reason, number)
            case _:
                record = Record(*payload)
                if record.status == mapping.GONE and self._reader is not None:
                    self._reader.forget(record.pid)
                self._deliver(record)

    def _handle_sums(self, taken: Iterable[tuple[Key, Sum]]) -> None:
        with EXCLUSION:
            for key, total in taken:
                self._deliver_sum(key, total)

    @guarded
    def _bury(self) -> bool:
        """Put a `gone` for each dead worker into the pipe, behind all that it wrote."""
        for process, gone in _dead(self._watched):
            self._watched = [pair for pair in self._watched if pair[0] is not process]
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

    def _after_fork(self) -> None:
        pipe, writer, waker = self._pipe, self._writer, self._waker
        if waker is not None:
            waker.close()
        self._pipe = None
        self._begin()
        if pipe is not None:
            pipe.close_read_end()
            self._writer = PipeWriter(pipe.write_end)
        elif writer is not None:
            self._writer = PipeWriter(writer.end)


def _slices(items: Iterator[T]) -> Iterator[tuple[T, ...]]:
    while some := tuple(islice(items, _SLICE)):
        yield some


def _dead(watched: list[tuple[Process, Record]]) -> list[tuple[Process, Record]]:
    if not watched:
        return []
    poller = select.poll()
    for process, _ in watched:
        poller.register(process.sentinel, select.POLLIN)
    ready = {fd for fd, _ in poller.poll(0)}
    # A grandchild that lives on keeps the sentinel quiet, is_alive() asks the system.
    return [
        (process, gone)
        for process, gone in watched
        if process.sentinel in ready or not process.is_alive()
    ]
