"""Waiting for something until a deadline, or until a signal says to stop."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(Exception):
    """A signal came while we were waiting."""


class Stop:
    """Remembers that SIGINT or SIGTERM came, so that nothing is left half done.

    `signum` is which of them, None while there was none.
    """

    def __init__(self) -> None:
        self.signum: int | None = None

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
            if self.signum is not None:
                raise StoppedError(signal.Signals(self.signum).name)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self.signum = signum
