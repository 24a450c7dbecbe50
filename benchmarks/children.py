"""Children: processes that are asked one question at a time, a line of JSON each."""

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

Answer = dict[str, Any]


class Child:
    """`python -m` *module*, which `answer`s until its input ends.

    It ends as well when this process does.
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
        """Its process, which may have children of its own."""
        return self._process.pid

    @property
    def family(self) -> list[int]:
        """It and the children that its main thread has forked."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [self.pid, *map(int, path.read_text().split())]

    def ask(self, question: str, **given: object) -> Answer:
        """Its answer to *question*; raises RuntimeError if it has ended."""
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
        """Let it end; what is left of it and its children is killed."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def answer(**to: Callable[..., Answer | None]) -> None:
    """Answer each line of the input by the function of its question's name."""
    # Not `sys.stdin`, which a forked worker closes: its lock would be ours, for ever.
    with open(0, closefd=False) as questions:
        for line in questions:
            given = json.loads(line)
            found = to[given.pop("question")](**given)
            sys.stdout.write(json.dumps(found or {}) + "\n")
            sys.stdout.flush()


def cpu(pid: int) -> float:
    """Seconds of CPU of process *pid*, with all its threads, ended ones as well."""
    # CPUCLOCK_SCHED of the process: what clock_getcpuclockid(3) gives on Linux.
    return time.clock_gettime((~pid << 3) | 2)


def resident(pid: int) -> float:
    """The memory of process *pid* in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
