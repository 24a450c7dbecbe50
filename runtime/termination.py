"""SIGTERM as the graceful signal, for a huey that has no option for it."""

import os
import signal
from types import FrameType
from typing import Any

from huey.constants import WORKER_PROCESS
from huey.consumer import Consumer


def finish_on_term(consumer: Consumer) -> None:
    """Give *consumer* what huey has from 3.4 on as ``graceful_signal="TERM"``.

    SIGTERM lets running tasks finish; a second one, or SIGINT, interrupts
    them. To be called before the consumer runs.
    """
    kind = type(consumer)
    consumer.__class__ = type(kind.__name__, (_FinishesOnTerm, kind), {})


# These are methods and attributes of huey 2.5 to 3.3, which newer ones lack.
_OldConsumer: Any = Consumer


class _FinishesOnTerm(_OldConsumer):  # type: ignore[misc]  # see above
    def stop(self, graceful: bool = False) -> None:  # noqa: FBT001, FBT002  # huey's
        super().stop(graceful)
        if self.worker_type != WORKER_PROCESS:
            return
        # multiprocessing ends its children by SIGTERM, which ours ignore.
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
