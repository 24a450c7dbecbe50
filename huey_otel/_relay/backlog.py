"""The backlog: frames that wait for room in the pipe, and the sums behind them.

An alarm may raise at any bytecode, so what must happen at one stroke is one call
of C, in which no signal is handled, or one assignment.
"""

import os
from collections import deque
from collections.abc import Iterable
from itertools import islice, repeat, starmap
from typing import Final

from huey_otel._relay.overflow import Sums
from huey_otel._relay.pipe import SUMS, encode

_MOST_WRITTEN: Final = 256
_LARGEST_PARTS: Final = 512


class Backlog:
    """Frames, each of which is written once and in order, and *sums*."""

    def __init__(self, frames: Iterable[bytes] = (), sums: Sums | None = None) -> None:
        self.sums = Sums() if sums is None else sums
        self._frames = list(frames)
        self._written: list[int] = []
        self._counted = (0, 0)

    def __bool__(self) -> bool:
        return len(self._frames) > len(self._written) or bool(self.sums)

    @property
    def size(self) -> int:
        """Bytes of the frames that have not been written."""
        number, size = self._counted
        if number < len(self._frames):
            new = self._frames[number:]
            number, size = self._counted = number + len(new), size + sum(map(len, new))
        return size - sum(self._written)

    def take_in(self, incoming: deque[bytes]) -> None:
        """Move all of *incoming* to the end of the frames."""
        self._frames.extend(starmap(incoming.popleft, repeat((), len(incoming))))

    def write(self, end: int) -> None:
        """Write all frames; BlockingIOError when there is no more room."""
        frames = islice(self._frames, len(self._written), None)
        self._written.extend(map(os.write, repeat(end), frames))

    def rest(self, pid: int) -> "Backlog":
        """What is to be done now: the frames left, and behind the last one the sums."""
        if len(self._frames) > len(self._written):
            if len(self._written) < _MOST_WRITTEN:
                return self
            return Backlog(self._frames[len(self._written) :], self.sums)
        totals = self.sums.totals()
        if not totals:
            return Backlog(sums=self.sums)
        return Backlog(
            part
            for at in range(0, len(totals), _LARGEST_PARTS)
            for part in encode((SUMS, totals[at : at + _LARGEST_PARTS]), pid)
        )
