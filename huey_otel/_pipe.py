"""The pipe across forks: many workers write records, the consumer's main process reads.

A write of at most PIPE_BUF bytes is atomic (POSIX, write), so writers never
mix and a killed one leaves no torn record; there is no lock that it could hold.
"""

import contextlib
import fcntl
import itertools
import marshal
import os
import select
import struct
import sys
import termios
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._guard import guarded
from huey_otel._losses import LOSSES
from huey_otel._records import Record
from huey_otel._sums import Sums
from huey_otel.mapping import Published

_HEADER: Final = struct.Struct("<HHII")
"""Bytes of payload, parts that follow, writer, number of a record in parts."""

_PART: Final = select.PIPE_BUF - _HEADER.size
_SIZE: Final = 1 << 20
_READ: Final = 1 << 18
_LARGEST_PARTS: Final = 512
_MARSHAL: Final = 2  # the last version without references; nothing here is shared

SUMS: Final = "sums"
LOST: Final = "losses"

_BEHIND: Final = "the consumer's main process is behind, events are summed up"

BACKLOG: Final = 1 << 20
"""Bytes that a worker keeps for a reader that is behind, before it sums up."""


_numbers = itertools.count(1)


def encode(payload: Any, pid: int) -> list[bytes]:
    """Cut *payload* into parts that are written atomically each."""
    data = marshal.dumps(payload, _MARSHAL)
    if len(data) <= _PART:
        return [_HEADER.pack(len(data), 0, pid, 0) + data]
    chunks = [data[at : at + _PART] for at in range(0, len(data), _PART)]
    last = len(chunks) - 1
    number = next(_numbers) % 2**32
    return [
        _HEADER.pack(len(chunk), last - at, pid, number) + chunk
        for at, chunk in enumerate(chunks)
    ]


def plain(value: Any) -> Any:
    """Make *value* something that `marshal` knows, for ids and delays of odd types."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, tuple | list):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


class Pipe:
    """Both ends, made before the fork. `capacity` is in bytes, as it was granted."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self.write_end, False)
        self.capacity = _grow(self.write_end)

    def close_read_end(self) -> None:
        """What a child does first, so that it gets EPIPE once its parent is gone."""
        os.close(self.read_end)

    def close(self) -> None:
        """Close both ends, in the process that made them."""
        os.close(self.read_end)
        os.close(self.write_end)


def _grow(end: int) -> int:
    try:
        # Refused past /proc/sys/fs/pipe-user-pages-soft; unknown outside Linux.
        return fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _SIZE)
    except (AttributeError, OSError):
        return 1 << 16


# One that cannot be read must not take those behind it along.
_loaded: Final = guarded(marshal.loads)


class PipeReader:
    """Puts the parts back together, in the consumer's main process."""

    def __init__(self, end: int) -> None:
        self._end = end
        self._rest = b""
        self._partial: dict[tuple[int, int], list[bytes]] = {}

    def read(self) -> tuple[int, Iterator[Any]]:
        """One large read: how many bytes it had, and the payloads it completed."""
        try:
            data = os.read(self._end, _READ)
        except BlockingIOError:
            return 0, iter(())
        return len(data), self._payloads(data)

    def waiting(self) -> int:
        """Bytes in the pipe now."""
        return int.from_bytes(
            fcntl.ioctl(self._end, termios.FIONREAD, bytes(4)), sys.byteorder
        )

    def _payloads(self, data: bytes) -> Iterator[Any]:
        buffer = self._rest + data
        at = 0
        while len(buffer) - at >= _HEADER.size:
            size, following, pid, number = _HEADER.unpack_from(buffer, at)
            end = at + _HEADER.size + size
            if end > len(buffer):
                break
            chunk = buffer[at + _HEADER.size : end]
            at = end
            if following:
                self._partial.setdefault((pid, number), []).append(chunk)
                continue
            parts = self._partial.pop((pid, number), []) if number else []
            payload = _loaded(b"".join([*parts, chunk]) if parts else chunk)
            if payload is not None:
                yield payload
        self._rest = buffer[at:]

    def forget(self, pid: int) -> None:
        """Drop what a dead writer had begun."""
        for key in [key for key in self._partial if key[0] == pid]:
            del self._partial[key]


class PipeWriter:
    """Sends a worker's records, and keeps what does not fit for later.

    A thread that waits for room exists only while something is kept.
    """

    def __init__(self, end: int) -> None:
        self.end = end
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._backlog: deque[bytes] = deque()
        self._kept = 0
        self._sums = Sums()
        self._waiting = False
        self._reader_gone = False

    def send(self, record: Record, *, must: bool = False) -> bool:
        """Write *record*, or keep it, or sum it up; False if it was summed up.

        *must* keeps it in any case: for the end of what was announced.
        """
        try:
            parts = encode(tuple(record), self._pid)
        except ValueError:
            parts = encode(plain(record), self._pid)
        if LOSSES.pending:
            self._send_losses()
        if not self._backlog and not self._sums and self._write(parts):
            return True
        with self._lock:
            size = sum(map(len, parts))
            room = self._kept + size <= BACKLOG
            if room or must:
                self._keep(parts, size)
            else:
                self._sums.fold(record)
                if mapping.TABLE[record.status].published is not Published.NEVER:
                    LOSSES.count(n.LOSS_RELAY, why=_BEHIND)
        self.flush()
        self._wait_for_room()
        return room or must

    def _write(self, parts: list[bytes]) -> bool:
        """Write all *parts*, or keep the rest of them once the first is out."""
        for at, part in enumerate(parts):
            try:
                os.write(self.end, part)
            except BlockingIOError:
                if at == 0:
                    return False
                with self._lock:
                    # The reader has the first parts; the others must come next.
                    rest = parts[at:]
                    self._backlog.extendleft(reversed(rest))
                    self._kept += sum(map(len, rest))
                self._wait_for_room()
                return True
            except BrokenPipeError:
                self._reader_gone = True
                return True
        return True

    def _send_losses(self) -> None:
        parts = encode((LOST, LOSSES.take()), self._pid)
        with self._lock:
            self._keep(parts, sum(map(len, parts)))

    def _keep(self, parts: list[bytes], size: int) -> None:
        self._backlog.extend(parts)
        self._kept += size

    def flush(self) -> bool:
        """Write what was kept, as far as there is room; True if nothing is left."""
        if not self._backlog and not self._sums:
            return True
        with self._lock:
            while True:
                while self._backlog:
                    part = self._backlog[0]
                    if not self._reader_gone:
                        try:
                            os.write(self.end, part)
                        except BlockingIOError:
                            return False
                        except BrokenPipeError:
                            self._reader_gone = True
                    self._backlog.popleft()
                    self._kept -= len(part)
                if not self._sums:
                    LOSSES.recovered(n.LOSS_RELAY)
                    return True
                self._keep_sums()

    def _keep_sums(self) -> None:
        taken = self._sums.take()
        step = _LARGEST_PARTS
        for at in range(0, len(taken), step):
            parts = encode((SUMS, taken[at : at + step]), self._pid)
            self._keep(parts, sum(map(len, parts)))

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

    def _room(self, timeout: float | None) -> None:
        poller = select.poll()
        poller.register(self.end, select.POLLOUT)
        poller.poll(None if timeout is None else timeout * 1000)

    def _wait_for_room(self) -> None:
        if self._waiting or not (self._backlog or self._sums):
            return
        self._waiting = True
        threading.Thread(
            target=self._when_there_is_room, name="huey-otel-backlog", daemon=True
        ).start()

    def _when_there_is_room(self) -> None:
        try:
            with contextlib.suppress(OSError):
                while not self.flush():
                    self._room(1.0)
        finally:
            self._waiting = False
            # Something may have been kept after the last flush found nothing.
            self._wait_for_room()
