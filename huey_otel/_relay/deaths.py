"""Deaths: which of the watched processes are no more."""

import select
import weakref
from typing import Protocol

from huey_otel._wire.record import Record


class Process(Protocol):
    """The part of `multiprocessing.Process` that tells of a death."""

    @property
    def sentinel(self) -> int: ...
    def is_alive(self) -> bool: ...


class Deaths:
    """Keeps a record for each process, until it is dead; each dies once."""

    def __init__(self) -> None:
        self._watched: list[tuple[Process, Record]] = []
        self._buried: list[weakref.ref[Process]] = []

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, process: Process, gone: Record) -> bool:
        """Keep *gone* for *process*; False if one is kept or was taken already."""
        # huey may name one more that died since, before it replaces it.
        if any(watched is process for watched, _ in self._watched) or any(
            known() is process for known in self._buried
        ):
            return False
        self._watched = [*self._watched, (process, gone)]
        return True

    def sentinels(self) -> list[int]:
        """What can be read once a process is dead."""
        return [process.sentinel for process, _ in self._watched]

    def take(self) -> list[Record]:
        """The records of those that are dead, and forget them."""
        dead = _dead(self._watched)
        self._buried = [known for known in self._buried if known() is not None]
        for process, _ in dead:
            self._buried.append(weakref.ref(process))
            self._watched = [pair for pair in self._watched if pair[0] is not process]
        return [gone for _, gone in dead]

    def forget(self) -> None:
        """Watch none of them any more."""
        self._watched = []


def _dead(watched: list[tuple[Process, Record]]) -> list[tuple[Process, Record]]:
    if not watched:
        return []
    poller = select.poll()
    for process, _ in watched:
        poller.register(process.sentinel, select.POLLIN)
    # A sentinel that somebody has closed tells nothing.
    ready = {fd for fd, what in poller.poll(0) if not what & select.POLLNVAL}
    # A grandchild that lives on keeps the sentinel quiet, is_alive() asks the system.
    return [
        (process, gone)
        for process, gone in watched
        if process.sentinel in ready or not process.is_alive()
    ]
