"""The listener process, which prints each event as JSON, and the reader of its output.

The process first prints an empty line, when it has subscribed. It ends when its
input ends.
"""

import json
import sys
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Thread

from huey_otel import EventListener
from huey_otel.events import Event
from runtime.demo.processes import FailedError, Process


class ListenerOutput:
    """Reads the lines of the listener *process* in a thread.

    `subscribed` is true as soon as the listener receives events.
    """

    def __init__(self, process: Process) -> None:
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._process = process
        Thread(target=self._read, daemon=True).start()
        self.subscribed = False

    def events(self) -> Iterator[Event]:
        """Give the events that have arrived since the last call.

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


def listen(url: str, channel: str) -> None:
    """Print the events on *channel* until standard input ends."""
    with EventListener(url, channel) as listener:

        def close_at_end_of_input() -> None:
            sys.stdin.read()
            listener.close()

        Thread(target=close_at_end_of_input, daemon=True).start()
        sys.stdout.write("\n")
        sys.stdout.flush()
        for event in listener:
            sys.stdout.write(json.dumps(event) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    listen(*sys.argv[1:])
