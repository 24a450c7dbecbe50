"""The rounds: a thread that works while there is something to do, and else sleeps."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from huey_otel import _names as n
from huey_otel._safety.greenlets import stay_where_forked
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import is_the_applications
from huey_otel._safety.wakeups import Waker

LINGER: Final = 0.02
"""Seconds between two rounds under load, so that a round has much to do."""

_PAUSE: Final = 0.2
"""Seconds until the next try, where waiting itself fails."""

_STREAK: Final = "relay thread"


class Rounds:
    """Calls *work* until it finds nothing to do, then sleeps until `rouse`.

    A rouse after *idle* was asked in vain ends the sleep at once. So does what
    can be read from one of the descriptors *also*.
    """

    def __init__(
        self,
        work: Callable[[], bool],
        idle: Callable[[], bool],
        also: Callable[[], Sequence[int]],
    ) -> None:
        self._work = work
        self._idle = idle
        self._also = also
        self._thread: threading.Thread | None = None
        self._waker: Waker | None = None
        self._starting = threading.RLock()
        self.asleep = True

    @property
    def running(self) -> bool:
        """True while there is a thread that does the work."""
        return self._thread is not None and self._thread.is_alive()

    def rouse(self) -> None:
        """Start the thread, or end its sleep.

        Where that fails `asleep` stays true, so that whoever comes next tries again.
        """
        try:
            # First: the thread says that it sleeps before it looks once more.
            self.asleep = False
            if self._thread is None:
                self._start()
            elif self._waker is not None:
                self._waker.poke()
        except (RuntimeError, OSError) as error:
            self.asleep = True
            if is_the_applications(error):
                raise
            why = f"the relay's thread cannot be roused, events wait: {error}"
            LOSSES.count(n.LOSS_INTERNAL, 0, streak=_STREAK, why=why)
        except BaseException:
            self.asleep = True
            raise
        else:
            LOSSES.recovered(_STREAK)

    def _start(self) -> None:
        with self._starting:
            if self._thread is not None:
                return
            if self._waker is None:
                self._waker = Waker()
            thread = threading.Thread(
                target=self._run, name="huey-otel-relay", daemon=True
            )
            try:
                self._thread = thread
                thread.start()
            except BaseException:
                # Refused while the interpreter goes down, or a task's timeout came
                # in between, which may leave a thread that runs or one that dies in
                # `threading`; the next record, or the flush at exit, tries again.
                self._thread = None
                raise

    def _run(self) -> None:
        # Not `self._thread`: who started it may have been interrupted, and given up.
        me, pid = threading.current_thread(), os.getpid()
        while self._thread is me:
            if self._work():
                self._wait(LINGER)
                continue
            self.asleep = True
            if self._idle():
                self._wait(None)
            if self._thread is me:
                self.asleep = False
        stay_where_forked(pid)

    def _wait(self, seconds: float | None) -> None:
        try:
            self._sleep(seconds)
        except (OSError, ValueError) as error:
            if self._thread is not threading.current_thread():
                return
            # A descriptor was closed by somebody else, or there is none left.
            why = f"the relay cannot wait for events, it looks now and then: {error}"
            LOSSES.count(n.LOSS_INTERNAL, 0, streak=_STREAK, why=why)
            time.sleep(_PAUSE)

    def _sleep(self, seconds: float | None) -> None:
        waker = self._waker
        if waker is None:
            return
        if waker.broken:
            waker.close()
            self._waker = waker = Waker()
        # While there is work nothing but a new round is worth a wake-up.
        waker.wait(seconds, self._also() if seconds is None else ())

    def close(self) -> None:
        """Let go of thread and waker, as a forked child does.

        It has no such thread, but for gevent, whose greenlets all live on there.
        """
        self._thread = None
        waker, self._waker = self._waker, None
        if waker is not None:
            waker.close()
