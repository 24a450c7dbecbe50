"""The waker: wakes a thread without a lock, so that a signal handler can, too."""

import contextlib
import errno
import os
import select
import signal
from collections.abc import Iterable


class Waker:
    """A pipe to oneself: `poke`, from any thread, ends the `wait` of the one reader.

    Both raise OSError once other code has closed the descriptors, as a daemon's set-up
    does; their numbers may belong to another file then.
    """

    def __init__(self) -> None:
        self._ends = os.pipe()
        for end in self._ends:
            os.set_blocking(end, False)
        self._identities = [_identity(end) for end in self._ends]

    @property
    def broken(self) -> bool:
        """True once other code has closed the descriptors."""
        return [_identity(end) for end in self._ends] != self._identities

    def poke(self) -> None:
        """End the current wait, or the next one."""
        self._check()
        # A full pipe wakes the reader as well.
        with contextlib.suppress(BlockingIOError):
            os.write(self._ends[1], b"x")

    def be_poked_by_signals(self) -> None:
        """Let each signal that has a handler end a wait; for the main thread alone.

        The handler does not do it: it waits for the main thread to run, which sleeps on
        if the kernel has given the signal to another thread.
        """
        signal.set_wakeup_fd(self._ends[1], warn_on_full_buffer=False)

    def wait(self, seconds: float | None, also: Iterable[int] = ()) -> None:
        """Return after *seconds*, on a poke, or when one of *also* can be read."""
        self._check()
        poller = select.poll()
        for end in (self._ends[0], *also):
            poller.register(end, select.POLLIN)
        for end, what in poller.poll(None if seconds is None else seconds * 1000):
            if what & select.POLLNVAL:
                raise OSError(errno.EBADF, f"descriptor {end} is closed")
        self._check()
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._ends[0], 4096)) == 4096:
                pass

    def _check(self) -> None:
        if self.broken:
            raise OSError(errno.EBADF, "the waker was closed by other code")

    def close(self) -> None:
        """Close both ends, as a forked child does with its parent's."""
        for end, identity in zip(self._ends, self._identities, strict=True):
            if _identity(end) == identity:
                os.close(end)


def _identity(end: int) -> tuple[int, int, int] | None:
    try:
        found = os.fstat(end)
    except OSError:
        return None
    return found.st_mode, found.st_dev, found.st_ino
