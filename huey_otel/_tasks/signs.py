"""Signs of life: when a worker or the scheduler did what, for the main process to read.

A sign is a time of the monotonic clock, which all processes of a machine share. It is
written by a plain store into memory that a forked worker has in common with its parent.
"""

import mmap
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

from huey.constants import WORKER_PROCESS

if TYPE_CHECKING:
    from huey.consumer import Consumer

LOOKED, GOT, EMPTY = range(3)
"""Began huey's dequeue; returned from it with a task; returned without one.

The latest of these is what a worker does now. Of the scheduler there is `LOOKED` alone:
it began to read its schedule, or went on with what it had read.
"""

_NUMBER: Final = 3
_SIZE: Final = 8 * _NUMBER
_LONGEST_BEAT: Final = 1.0
_MOST_STOPS: Final = 100


class Signs(Protocol):
    """The times of one worker, or of the scheduler; 0 for never."""

    def __setitem__(self, sign: int, at: float, /) -> None: ...

    def __iter__(self) -> Iterator[float]: ...


def signs(consumer: "Consumer | None") -> Signs:
    """New ones, which a worker of *consumer* may write after it was forked."""
    if consumer is None or consumer.worker_type != WORKER_PROCESS:
        # Written in a third of the time.
        return [0.0] * _NUMBER
    return memoryview(mmap.mmap(-1, _SIZE))[:_SIZE].cast("d")


NOBODYS: Final = signs(None)
"""Where threads write that are no workers."""


class Heart:
    """Beats in the main process ten times a second, to know when that was stopped.

    By SIGSTOP, or as a container is paused: its workers were then stopped as well.
    """

    def __init__(self) -> None:
        self._last = time.monotonic()
        self._stops: deque[tuple[float, float]] = deque(maxlen=_MOST_STOPS)

    def beat(self) -> None:
        """Huey's main loop goes on."""
        now = time.monotonic()
        if now - self._last > _LONGEST_BEAT:
            self._stops.append((self._last, now))
        self._last = now

    def awake(self, since: float, now: float) -> float:
        """The seconds from *since* to *now* in which the process was not stopped."""
        stopped = (
            min(end, now) - max(begin, since) for begin, end in list(self._stops)
        )
        return now - since - sum(seconds for seconds in stopped if seconds > 0)
