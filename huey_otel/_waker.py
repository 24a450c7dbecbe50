"""The waker: rouses a sleeping thread without a lock that a signal could find taken."""

import contextlib
import os
import select
from collections.abc import Iterable


class Waker:
    """A pipe to oneself. `poke` from anywhere ends the `wait` of the one thread."""

    def __init__(self) -> None:
        self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)

    def poke(self) -> None:
        """End the current wait, or the next one."""
        # Full of pokes is as good as one more.
        with contextlib.suppress(BlockingIOError):
            os.write(self._ends[1], b"x")

    def wait(self, seconds: float | None, also: Iterable[int] = ()) -> None:
        """Return after *seconds*, on a poke, or when one of *also* can be read."""
        poller = select.poll()
        for end in (self._ends[0], *also):
            poller.register(end, select.POLLIN)
        poller.poll(None if seconds is None else seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._ends[0], 4096)) == 4096:
                pass

    def close(self) -> None:
        """Close both ends, as a forked child does with its parent's."""
        for end in self._ends:
            os.close(end)
