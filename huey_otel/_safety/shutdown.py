"""How long the end of a process may wait for telemetry: all its limits, in seconds."""

import mmap
import struct
import time
from collections.abc import Callable
from typing import Any, Final

from huey_otel._safety.forks import in_child

FLUSH_TIMEOUT: Final = 5.0
"""For all that a consumer has not delivered; the default of `flush_timeout=`."""

PRODUCER_EXIT: Final = 1.0
"""For the events of a process that runs no consumer, at most."""

LAST_READ: Final = 1.0
"""To read what workers have written last, at most.

Not a part of `flush_timeout`: a collector that is away has taken all of that by
then, and what workers count as lost for it comes after.
"""

LAST_SPANS: Final = 1.0
"""For the spans of a process whose hueys are all uninstrumented by its end."""

_BEGAN: Final = 0
_ENDED: Final = 8
_SIZE: Final = 16
_TIME: Final = struct.Struct("d")


class ShutdownTime:
    """Adds up what all hueys of a process have waited since it began to stop.

    A consumer waits for its workers, and so for what they wait for: they write that
    to memory that they share, by the one clock that all processes have.
    """

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None
        self._forked = False
        self._spent = 0.0
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        self._forked = True
        self._spent = 0.0

    def share(self) -> None:
        """Share with the workers that are forked from now on."""
        if self._memory is None and not self._forked:
            self._memory = mmap.mmap(-1, _SIZE)

    def begin(self) -> None:
        """The end begins: earlier waits do not count."""
        self._spent = 0.0
        self._write(_BEGAN, 0.0)
        self._write(_ENDED, 0.0)

    def spend(self, limit: float, wait: Callable[[float], Any]) -> None:
        """Call *wait* with what is left of *limit* seconds."""
        began = time.monotonic()
        if self._forked:
            self._write(_BEGAN, began)
        try:
            wait(max(0.0, limit - self._spent - self._workers(began)))
        finally:
            now = time.monotonic()
            self._spent += now - began
            if self._forked:
                self._write(_ENDED, now)

    def _workers(self, now: float) -> float:
        """What the last worker has waited, or waits still."""
        if self._forked or self._memory is None:
            return 0.0
        (began,) = _TIME.unpack_from(self._memory, _BEGAN)
        (ended,) = _TIME.unpack_from(self._memory, _ENDED)
        if not began:
            return 0.0
        return float((ended if ended >= began else now) - began)

    def _write(self, at: int, moment: float) -> None:
        if self._memory is not None:
            _TIME.pack_into(self._memory, at, moment)
