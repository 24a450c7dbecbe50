"""Child processes that answer one question at a time, each a line of JSON."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
_PATIENCE: Final = 60.0

REST: Final = 0
"""The processor of Redis, producers and receivers, of those that there are."""

WORKER: Final = 1
"""The processor of what is measured."""

_PROCESSORS: Final = os.environ.setdefault(
    # Children have it from here, as they see only their own.
    "BENCH_PROCESSORS",
    " ".join(map(str, sorted(os.sched_getaffinity(0)))),
).split()

Answer = dict[str, Any]


class Child:
    """Runs `python -m` *module*, which calls `answer`.

    It ends when its input is closed, so at the latest with this process.
    """

    def __init__(self, module: str, *arguments: str, log: Path, **environ: str) -> None:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OTEL_", "HUEY_OTEL_"))
        }
        self._log = log
        with log.open("a") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", module, *arguments],
                env=clean | environ,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def family(self) -> list[int]:
        """The process ids of it and of the children that its main thread has forked."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [self.pid, *map(int, path.read_text().split())]

    def ask(self, question: str, **given: object) -> Answer:
        """Return its answer to *question*; raise RuntimeError if it has ended."""
        to, back = self._process.stdin, self._process.stdout
        if to is None or back is None:
            raise RuntimeError("no pipes")
        with contextlib.suppress(BrokenPipeError):
            to.write(json.dumps({"question": question, **given}) + "\n")
            to.flush()
        line = back.readline()
        if not line:
            raise RuntimeError(f"a child has ended:\n{self._log.read_text()[-4000:]}")
        answer: Answer = json.loads(line)
        return answer

    def end(self) -> None:
        """Let it end, then kill it and its children if they are still there."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def answer(**to: Callable[..., Answer | None]) -> None:
    """Answer each line of standard input with the function that the question names."""
    # Not `sys.stdin`: a forked worker closes it, which hangs if this thread held its
    # lock at the fork.
    with open(0, closefd=False) as questions:
        for line in questions:
            given = json.loads(line)
            found = to[given.pop("question")](**given)
            sys.stdout.write(json.dumps(found or {}) + "\n")
            sys.stdout.flush()


def pin(pid: int, processor: int | None) -> None:
    """Keep all threads of process *pid* on *processor*; None leaves it all of them.

    Processes and threads that it makes later stay there as well. With only one
    processor, nothing is done.
    """
    if len(_PROCESSORS) > 1:
        kept = _PROCESSORS if processor is None else [_PROCESSORS[processor]]
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), map(int, kept))


def cpu(pid: int) -> float:
    """CPU seconds of all threads of process *pid*, including those that have ended."""
    # The clock id that clock_getcpuclockid(3) computes on Linux (CPUCLOCK_SCHED).
    return time.clock_gettime((~pid << 3) | 2)


def resident(pid: int) -> float:
    """The resident memory of process *pid* in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
