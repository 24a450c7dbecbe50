"""Forked children of a test, which never come back into pytest."""

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until


@dataclass
class Child:
    """A forked process."""

    pid: int
    status: int | None = None

    def is_alive(self) -> bool:
        """Whether it still runs; reaps it if not."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is None

    def join(self, *, seconds: float = 30.0) -> int | None:
        """Wait for its end; its exit code."""
        wait_until(lambda: not self.is_alive(), seconds=seconds)
        return self.status

    def kill(self) -> None:
        """End it as the OOM killer would."""
        if self.is_alive():
            os.kill(self.pid, signal.SIGKILL)
            self.join()


def open_descriptors() -> set[str]:
    """The files that this process has open, by number."""
    return {path.name for path in Path("/proc/self/fd").iterdir() if path.exists()}


def fork(body: Callable[[], object]) -> Child:
    """Run *body* in a forked child; exit code 0 when it returned."""
    pid = os.fork()
    if pid:
        return Child(pid)
    code = 1
    try:
        body()
        code = 0
    finally:
        # Run neither pytest's own end nor any atexit function.
        os._exit(code)


def said_in_child(tell: Callable[[], object]) -> Any:
    """What *tell* returns in a forked child, by way of JSON."""
    read_end, write_end = os.pipe()
    child = fork(lambda: os.write(write_end, json.dumps(tell()).encode()))
    os.close(write_end)
    with os.fdopen(read_end) as said:
        text = said.read()
    assert child.join() == 0
    return json.loads(text)
