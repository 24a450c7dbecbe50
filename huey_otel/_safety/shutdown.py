"""How long the end of a process may wait for telemetry: all its limits, in seconds."""

import atexit
import contextlib
import mmap
import threading
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

Not a part of `flush_timeout`: a collector that does not answer uses up all of that,
and the workers count the spans that they lose to it only then.
"""

LAST_PAGE: Final = 0.5
"""To leave a metrics page with what was lost at the end, at most.

Not a part of `flush_timeout` either, for the same reason. A Redis that has not taken
the page before is not waited for.
"""

LAST_SPANS: Final = 1.0
"""For the spans of a process whose hueys are all uninstrumented by its end."""


def before_atexit(call: Callable[[], object]) -> None:
    """Call *call* when the process ends, before any function that `atexit` calls.

    By `atexit` the SDK ends the providers of an application. This uses a function that
    is private to CPython (3.9 to 3.14); where it is missing, `atexit` calls *call* too.
    """
    register: Callable[[Callable[[], object]], object]
    register = getattr(threading, "_register_atexit", atexit.register)
    # Python raises if the process is ending already; our finalizer delivers then.
    with contextlib.suppress(RuntimeError):
        register(call)


class ShutdownTime:
    """Adds up what all hueys of a process have waited since it began to stop.

    A consumer also waits for its workers' waits: they write these to shared memory.
    """

    def __init__(self) -> None:
        # When the last worker began to wait, and when it ended, by time.monotonic().
        self._workers: list[float] | memoryview[float] = [0.0, 0.0]
        self._forked = False
        self._spent = 0.0
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        self._forked = True
        self._spent = 0.0

    def share(self) -> None:
        """Share with the workers that are forked from now on."""
        if isinstance(self._workers, list) and not self._forked:
            self._workers = memoryview(mmap.mmap(-1, 16)).cast("d")

    def begin(self) -> None:
        """The end begins: earlier waits do not count."""
        self._spent = self._workers[0] = self._workers[1] = 0.0

    def spend(self, limit: float, wait: Callable[[float], Any]) -> None:
        """Call *wait* with what is left of *limit* seconds."""
        began = time.monotonic()
        if self._forked:
            self._workers[0] = began
        try:
            wait(max(0.0, limit - self._spent - self._waited(began)))
        finally:
            now = time.monotonic()
            self._spent += now - began
            if self._forked:
                self._workers[1] = now

    def _waited(self, now: float) -> float:
        """What the last worker has waited, or waits still."""
        began, ended = self._workers
        if self._forked or not began:
            return 0.0
        return (ended if ended >= began else now) - began
