"""The relay: carries records from where they happen to the sinks, off a task's path.

In one process a deque and one thread; across forks a pipe that the consumer's
main process reads. It does no I/O but its pipe.
"""

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._otel.span_counts import SPANS
from huey_otel._relay.deaths import DeathWatch, Process
from huey_otel._relay.inflight import InFlight
from huey_otel._relay.overflow import Overflow
from huey_otel._relay.pipe import LOST, Pipe, PipeReader, encode
from huey_otel._relay.writer import PipeWriter
from huey_otel._safety.forks import EXCLUSION, in_child
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.guard import guarded, swallow
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import is_the_applications
from huey_otel._safety.wakeups import Waker
from huey_otel._wire.record import Record, Sink, Source

_LIMIT: Final = 50_000
"""Records that wait in one process before they are summed up."""

_SLICE: Final = 256
"""Records that are handled at a stretch; a fork waits for these at most."""

LINGER: Final = 0.02
"""Seconds between two rounds under load, so that a round has much to do."""

_PAUSE: Final = 0.2
"""Seconds until the next try, where waiting itself fails."""

_STREAK: Final = "relay thread"


class Route:
    """Where the records of one instrumented huey go."""

    def __init__(self, source: Source, sinks: Sequence[Sink]) -> None:
        self.source = source
        self.sinks = sinks


class Routes:
    """Hands each record to the sinks of its huey, and the ends that it reveals."""

    def __init__(self) -> None:
        self._routes: dict[int, Route] = {}
        self._inflight = InFlight()

    def add(self, number: int, route: Route) -> None:
        """Send what is recorded under *number* to *route*."""
        self._routes[number] = route

    def remove(self, number: int) -> None:
        """Forget a route; records for it that are still on their way are dropped."""
        self._routes.pop(number, None)

    def deliver(self, record: Record) -> None:
        """Hand *record*, and the ends that it reveals, to their sinks in order."""
        queue = self._hand_over(self._inflight.joined(record))
        for end in self._inflight.apply(record, queue):
            self._hand_over(end)

    def forget_in_flight(self) -> None:
        """Start with nothing in flight, as a forked child does."""
        self._inflight = InFlight()

    def _hand_over(self, record: Record) -> str:
        """Give *record* to its sinks; its queue, empty where it has no route."""
        route = self._routes.get(record.source)
        if route is None:
            return ""
        source = route.source
        for sink in route.sinks:
            try:
                sink(record, source)
            except Exception as error:
                # A sink that fails costs the other ones nothing.
                if is_the_applications(error):
                    raise
                swallow(error, sink)
        return source.queue


class Relay:
    """Takes records in, and delivers them to *routes* on its own thread.

    Starts nothing before the first record. `forked` is True in a worker, whose records
    go through the pipe to its parent.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.forked = False
        self._writer: PipeWriter | None = None
        self._pipe: Pipe | None = None
        self._opened_by = 0
        self._begin()
        in_child(self._after_fork)

    def _begin(self) -> None:
        self.pid = os.getpid()
        self._records: deque[Record | threading.Event] = deque()
        self._overflow = Overflow()
        self._thread: threading.Thread | None = None
        self._waker: Waker | None = None
        # Reentrant: a signal handler may send a record while the first one is sent.
        self._starting = threading.RLock()
        self._asleep = True
        self._reader: PipeReader | None = None
        self._workers = DeathWatch()
        self._gone: deque[Record] = deque()

    @property
    def reader(self) -> int | None:
        """In a worker the process that handles its records, while that is there."""
        writer = self._writer
        return None if writer is None or writer.reader_gone else self._opened_by

    @property
    def behind(self) -> bool:
        """In a worker: whether the pipe has no room now."""
        return self._writer is not None and self._writer.behind

    def send(self, record: Record, *, must: bool = False) -> bool:
        """Take *record* in; False if there was no room and it was summed up.

        *must* takes it in any case: for the end of what was announced.
        """
        if self._writer is not None:
            return self._writer.send(record, must=must)
        if len(self._records) >= _LIMIT and not must:
            self._overflow.add(record)
            if mapping.TABLE[record.status].is_event:
                LOSSES.count(n.LOSS_RELAY, why="more events than this process handles")
            return False
        self._records.append(record)
        if self._asleep:
            self._wake()
        return True

    def open_pipe(self) -> None:
        """Read what workers write that are forked from now on."""
        if self._writer is None and self._pipe is None:
            self._pipe, self._opened_by = Pipe(), os.getpid()
            self._reader = PipeReader(self._pipe.read_end)
            self._wake()

    def watch(self, process: Process, gone: Record) -> None:
        """Deliver *gone* when *process* is dead and all that it wrote has been read."""
        if self._workers.watch(process, gone):
            self._wake()

    def flush(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until what was sent is handled; True if so."""
        if self._writer is not None:
            return self._writer.drain(timeout)
        if not self._running:
            while self._round():
                pass
            return True
        handled = threading.Event()
        self._records.append(handled)
        self._wake()
        return handled.wait(timeout)

    @property
    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _wake(self) -> None:
        """Start the thread, or end its sleep; where that fails the next record does."""
        try:
            # First: the thread says that it sleeps before it looks once more.
            self._asleep = False
            self._start()
            if self._waker is not None:
                self._waker.poke()
        except BaseException as error:
            self._asleep = True
            failed = isinstance(error, RuntimeError | OSError)
            if not failed or is_the_applications(error):
                raise
            why = f"the relay's thread cannot be roused, events wait: {error}"
            LOSSES.count(n.LOSS_INTERNAL, 0, streak=_STREAK, why=why)
        else:
            LOSSES.recovered(_STREAK)

    def _start(self) -> None:
        if self._running:
            return
        with self._starting:
            if self._running:
                return
            if self._waker is None:
                self._waker = Waker()
            self._thread = threading.Thread(
                target=self._run, name="huey-otel-relay", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        me, pid = threading.current_thread(), os.getpid()
        while self._thread is me:
            if self._round():
                self._sleep(LINGER)
                continue
            self._asleep = True
            if not (self._records or self._gone):
                self._sleep(None)
            if self._thread is me:
                self._asleep = False
        stay_where_forked(pid)

    def _sleep(self, seconds: float | None) -> None:
        """Wait *seconds*; with None for a record here or from a worker, or a death."""
        try:
            waker = self._waker
            if waker is None:
                return
            if waker.broken:
                waker.close()
                self._waker = waker = Waker()
            # While there is work nothing but a new round is worth a wake-up.
            waker.wait(seconds, self._readable_later() if seconds is None else ())
        except (OSError, ValueError) as error:
            if self._thread is not threading.current_thread():
                return
            # Another part of the program closed a descriptor, or there is none left.
            why = f"the relay cannot wait for events, and looks every 0.2 s: {error}"
            LOSSES.count(n.LOSS_INTERNAL, 0, streak=_STREAK, why=why)
            time.sleep(_PAUSE)

    def _readable_later(self) -> list[int]:
        reader = [] if self._reader is None else [self._reader.end]
        return [*reader, *self._workers.sentinels()]

    def _round(self) -> bool:
        """Handle what is there; True if there was anything."""
        busy = bool(self._report_deaths())
        busy = bool(self._handle_records()) or busy
        return bool(self._handle_pipe()) or busy

    @guarded
    def _report_deaths(self) -> bool:
        """Put a `gone` for each dead worker into the pipe, behind all that it wrote."""
        for gone in self._workers.dead():
            self._gone.append(gone._replace(timestamp=time.time()))
        busy = bool(self._gone)
        with contextlib.suppress(BlockingIOError):
            # The pipe may be full: it is read next, and then there is room.
            while self._gone:
                self._put_behind(self._gone[0])
                self._gone.popleft()
        return busy

    def _put_behind(self, gone: Record) -> None:
        if self._pipe is None:
            self._records.append(gone)
        else:
            for frame in encode(gone, gone.pid):
                os.write(self._pipe.write_end, frame)

    @guarded
    def _handle_records(self) -> bool:
        busy = bool(self._records)
        while self._records:
            for flushed in self._handle_some():
                self._read_what_is_there()
                flushed.set()
        if self._overflow:
            LOSSES.recovered(n.LOSS_RELAY)
            with EXCLUSION:
                for record in self._overflow.take():
                    self._handle(record)
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
        self._report_deaths()
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
            size, records = self._reader.read()
        except OSError:
            # Another part of the program closed it: workers cannot be read again.
            self._reader = self._pipe = None
            raise
        for some in _slices(records):
            with EXCLUSION:
                for record in some:
                    self._handle(record)
        return size

    @guarded
    def _handle(self, record: Record) -> None:
        if record.status == LOST:
            spans = 0
            for queue, reason, number in (record.extra or {})["losses"]:
                LOSSES.add(queue, reason, number)
                spans += number if reason in n.LOSSES_OF_SPANS else 0
            if record.key:
                SPANS.told(record.pid, spans)
            return
        if record.status == mapping.GONE:
            SPANS.gone(record.pid)
            if self._reader is not None:
                self._reader.forget(record.pid)
        self._routes.deliver(record)

    def _after_fork(self) -> None:
        pipe, writer, waker = self._pipe, self._writer, self._waker
        # gevent's greenlets live on in the child; ours ends, as it is not `_thread`.
        self._pipe = None
        self._begin()
        if waker is not None:
            waker.close()
        if pipe is not None:
            # Closed already where all are, as by a daemon's set-up.
            with contextlib.suppress(OSError):
                pipe.close_read_end()
            self._writer = PipeWriter(pipe.write_end)
        elif writer is not None:
            self._writer = PipeWriter(writer.end)
        self.forked = self._writer is not None


def _slices(records: Iterator[Record]) -> Iterator[tuple[Record, ...]]:
    while some := tuple(islice(records, _SLICE)):
        yield some
