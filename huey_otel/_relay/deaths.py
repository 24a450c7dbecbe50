"""The death watch: which of the workers' processes have died."""

import select
from typing import Protocol
from weakref import WeakSet

from huey_otel._wire.record import Record


class Process(Protocol):
    """The part of `multiprocessing.Process` that is used here."""

    @property
    def sentinel(self) -> int: ...
    def is_alive(self) -> bool: ...


class DeathWatch:
    """Keeps a record for each process until it is dead; each dies once."""

    def __init__(self) -> None:
        self._watched: list[tuple[Process, Record]] = []
        self._known: WeakSet[Process] = WeakSet()

    def watch(self, process: Process, gone: Record) -> bool:
        """Keep *gone* for *process*, once; False if it is known already."""
        # huey names a process that has died until it replaces it.
        if process in self._known:
            return False
        self._known.add(process)
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
            # Or one process that cannot be asked would hide all others for ever.
            self._known.difference_update(process for process, _ in self._watched)
            self._watched = []
            raise
        for process, _ in dead:
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
        # A grandchild that lives on keeps the sentinel quiet.
        return [
            (process, gone)
            for process, gone in self._watched
            if process.sentinel in ready or not process.is_alive()
        ]
