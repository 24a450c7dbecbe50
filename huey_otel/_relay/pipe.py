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
from collections.abc import Iterator
from typing import Any, Final

from huey_otel._safety.guard import guarded
from huey_otel._wire.record import Record, record_of

_HEADER: Final = struct.Struct("<HHII")
"""Bytes of payload, parts that follow, writer, number of a record in parts."""

_PART: Final = select.PIPE_BUF - _HEADER.size
_SIZE: Final = 1 << 20
_READ: Final = 1 << 18
_MARSHAL: Final = 2  # the last version without references; nothing here is shared

LOST: Final = "losses"
"""Status of the record by which a process tells what it lost.

In `extra` its `losses` are triples of queue, reason and number. Its `key` is 1 if that
process is a worker, of which SPANS knows what it has not told.
"""

_numbers = itertools.count(1)


def encode(record: Record, pid: int) -> list[bytes]:
    """Cut *record* into frames that are written atomically each."""
    try:
        data = marshal.dumps(tuple(record), _MARSHAL)
    except ValueError:
        data = marshal.dumps(plain(record), _MARSHAL)
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
    """Both ends, made before the fork."""

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe()
        os.set_blocking(self.read_end, False)
        os.set_blocking(self.write_end, False)
        # Refused past /proc/sys/fs/pipe-user-pages-soft; unknown outside Linux.
        with contextlib.suppress(AttributeError, OSError):
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, _SIZE)

    def close_read_end(self) -> None:
        """What a child does first, so that it gets EPIPE once its parent is gone."""
        os.close(self.read_end)

    def close(self) -> None:
        """Close both ends, in the process that made them."""
        os.close(self.read_end)
        os.close(self.write_end)


@guarded
def _decoded(data: bytes) -> Record:
    """A corrupt record must not discard those after it."""
    return record_of(marshal.loads(data))  # noqa: S302 - our own workers wrote it


class PipeReader:
    """Puts frames back together, in the consumer's main process."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._rest = b""
        self._partial: dict[tuple[int, int], list[bytes]] = {}

    def read(self) -> tuple[int, Iterator[Record]]:
        """One large read: how many bytes it had, and the records it completed."""
        try:
            data = os.read(self.end, _READ)
        except BlockingIOError:
            return 0, iter(())
        return len(data), self._records(data)

    def waiting(self) -> int:
        """Bytes in the pipe now."""
        return int.from_bytes(
            fcntl.ioctl(self.end, termios.FIONREAD, bytes(4)), sys.byteorder
        )

    def _records(self, data: bytes) -> Iterator[Record]:
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
            record = _decoded(b"".join([*parts, chunk]) if parts else chunk)
            if record is not None:
                yield record
        self._rest = buffer[at:]

    def forget(self, pid: int) -> None:
        """Drop what a dead writer had begun."""
        for key in [key for key in self._partial if key[0] == pid]:
            del self._partial[key]
