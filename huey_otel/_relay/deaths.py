"""The death watch: which of the workers' processes have died."""

import select
import weakref
from typing import Protocol

from huey_otel._wire.record import Record


class Process(Protocol):
    """The part of `multiprocessing.Process` that tells of a death."""

    @property
    def sentinel(self) -> int: ...
    def is_alive(self) -> bool: ...


class DeathWatch:
    """Keeps a record for each process until it is dead; each dies once."""

    def __init__(self) -> None:
        self._watched: list[tuple[Process, Record]] = []
        self._reported: list[weakref.ref[Process]] = []

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, process: Process, gone: Record) -> bool:
        """Keep *gone* for *process*; False if one is kept, or was reported already."""
        # huey may name one that has died since, before it replaces it.
        if any(watched is process for watched, _ in self._watched) or any(
            known() is process for known in self._reported
        ):
            return False
        self._watched = [*self._watched, (process, gone)]
        return True

    def sentinels(self) -> list[int]:
        """Descriptors, each readable once its process is dead."""
        return [process.sentinel for process, _ in self._watched]

    def dead(self) -> list[Record]:
        """The records of the processes that have died since the last call."""
        try:
            dead = self._dead()
        except (OSError, ValueError):
            # A process that cannot be asked makes no other one unheard.
            self._watched = []
            raise
        self._reported = [known for known in self._reported if known() is not None]
        for process, _ in dead:
            self._reported.append(weakref.ref(process))
            self._watched = [pair for pair in self._watched if pair[0] is not process]
        return [gone for _, gone in dead]

    def _dead(self) -> list[tuple[Process, Record]]:
        if not self._watched:
            return []
        poller = select.poll()
        for process, _ in self._watched:
            poller.register(process.sentinel, select.POLLIN)
        # A sentinel that has been closed tells nothing.
        ready = {fd for fd, what in poller.poll(0) if not what & select.POLLNVAL}
        # A grandchild that lives on keeps the sentinel quiet, is_alive() asks the
        # system.
        return [
            (process, gone)
            for process, gone in self._watched
            if process.sentinel in ready or not process.is_alive()
        ]
