"""What the listener process hears, taken in by the demo."""

import json
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread

from huey_otel.events import Event
from runtime.demo.processes import FailedError, Process


class Hearing:
    """Reads the lines of the listener *process* in a thread, so that nobody waits."""

    def __init__(self, process: Process) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._process = process
        Thread(target=self._read, daemon=True).start()
        self.subscribed = False

    def take(self) -> Iterator[Event]:
        """Give the events that have come since the last time, and none newer.

        Raises FailedError when the listener has ended.
        """
        for _ in range(self._lines.qsize()):
            line = self._lines.get()
            if line is None:
                raise FailedError(f"the listener ended: {self._process.wait()}")
            if line.strip():
                yield json.loads(line)
            else:
                self.subscribed = True

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  # for mypy
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)
