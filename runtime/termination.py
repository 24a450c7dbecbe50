"""Graceful SIGTERM for huey 2.5 to 3.3, which have no option for it."""

import os
import signal
from types import FrameType
from typing import Any

from huey.constants import WORKER_PROCESS
from huey.consumer import Consumer


def finish_on_term(consumer: Consumer) -> None:
    """Make *consumer* behave like huey 3.4 with ``graceful_signal="TERM"``.

    SIGTERM lets running tasks finish; a second SIGTERM, or SIGINT, interrupts them.
    Call it before the consumer runs.
    """
    kind = type(consumer)
    consumer.__class__ = type(kind.__name__, (_FinishesOnTerm, kind), {})


# Newer versions lack the methods and attributes of huey 2.5 to 3.3 used below.
_OldConsumer: Any = Consumer


class _FinishesOnTerm(_OldConsumer):  # type: ignore[misc]  # see above
    def stop(self, graceful: bool = False) -> None:  # noqa: FBT001, FBT002  # huey's
        super().stop(graceful)
        if self.worker_type != WORKER_PROCESS:
            return
        # multiprocessing ends its children with SIGTERM, which our children ignore.
        for process in (self.scheduler, *(pair[1] for pair in self.worker_threads)):
            if process.is_alive():
                os.kill(process.pid, signal.SIGINT)

    def _set_signal_handlers(self) -> None:
        super()._set_signal_handlers()
        signal.signal(signal.SIGTERM, self._handle_finish_signal)
        signal.signal(signal.SIGINT, self._handle_stop_signal)

    def _handle_finish_signal(self, signum: int, frame: FrameType | None) -> Any:
        self._signum = signum
        self._received_signal = True
        self._restart = False
        self._graceful = True
        signal.signal(signum, signal.default_int_handler)

    def _set_child_signal_handlers(self) -> None:
        super()._set_child_signal_handlers()
        signal.signal(signal.SIGINT, self._handle_stop_signal_worker)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
