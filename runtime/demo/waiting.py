"""Waiting for something until a deadline, or until a signal says to stop."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(Exception):
    """A signal came; the argument is its number."""


class Stop:
    """Remembers that SIGINT or SIGTERM came, so that nothing is left half done."""

    def __init__(self) -> None:
        self._signum: int | None = None

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM within the block."""
        before = {
            signum: signal.signal(signum, self._note)
            for signum in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def wait(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Poll until *ready*, at most *seconds*; whether it was ready in time.

        Raises StoppedError when a signal came.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self._signum is not None:
                raise StoppedError(self._signum)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._signum = signum
