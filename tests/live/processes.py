"""Processes that a live test starts, mistreats, and ends by their own ids."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import huey.consumer

from tests.support.programs import ROOT
from tests.support.waiting import wait_until

# What huey's console script `huey_consumer` runs.
HUEY_CONSUMER = ("-m", "huey.bin.huey_consumer")

# A busy machine takes longer to deliver what is left than a user waits for it.
PATIENT = {"HUEY_OTEL_FLUSH_TIMEOUT": "30", "LIVE_PRODUCER_EXIT": "30"}

# The last signal that a consumer of huey's sets a handler for, behind all workers.
LAST_HANDLED = signal.SIGHUP

# The state of a listening socket in /proc/net/tcp.
LISTEN = "0A"


class Program:
    """A program, of Python's by default, in a process group of its own.

    And all that it prints.
    """

    def __init__(
        self,
        *arguments: str,
        log: Path,
        environ: dict[str, str],
        pythonpath: str = "",
        executable: str = sys.executable,
    ) -> None:
        self.name = " ".join(arguments)
        self._log = log
        paths = [path for path in (pythonpath, str(ROOT)) if path]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [executable, *arguments],
                cwd=ROOT,
                env=os.environ
                | PATIENT
                | {"PYTHONPATH": os.pathsep.join(paths)}
                | environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def children(self) -> list[int]:
        """The process ids of its children, in the order of their start."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def send(self, signum: signal.Signals) -> None:
        self._process.send_signal(signum)

    def wait_until_it_consumes(self) -> None:
        """Return once it has started all workers of huey's, and heeds signals."""
        wait_until(lambda: not self.running or handles(self.pid, LAST_HANDLED))
        assert self.running, self.log

    def wait(self, seconds: float = 60.0) -> int:
        """Wait for its end; its exit code."""
        return self._process.wait(seconds)

    def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end, and wait for that; its exit code."""
        self.send(signum)
        return self.wait()

    def kill(self) -> None:
        """End it, and not its children, as the OOM killer would."""
        self.send(signal.SIGKILL)
        self.wait()

    def clean_up(self) -> None:
        """Kill its process group, with all children that are left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()


class Consumer(Program):
    """A huey consumer, started as its users start it."""

    def send(self, signum: signal.Signals) -> None:
        """Send it *signum*, not before it has a handler for that."""
        if signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.wait_until_started()
        super().send(signum)

    def stop_after_kills(self) -> None:
        """Stop it, if it can be stopped after workers of it were killed.

        huey 2 tells its workers by a `multiprocessing.Event`, which hangs for
        ever once one of them was killed that held it.
        """
        if hasattr(huey.consumer, "ForkSafeFlag"):
            self.stop()
        else:
            self.clean_up()

    def __init__(
        self,
        application: str,
        kind: str,
        *options: str,
        log: Path,
        environ: dict[str, str],
        pythonpath: str = "",
    ) -> None:
        super().__init__(
            *HUEY_CONSUMER,
            f"tests.live.apps.{application}.huey",
            *("-k", kind),
            *options,
            log=log,
            environ=environ,
            pythonpath=pythonpath,
        )

    def wait_until_started(self) -> None:
        """Return once it has started all workers, and heeds signals."""
        self.wait_until_it_consumes()
        if not hasattr(huey.consumer, "ForkSafeFlag"):
            self._wait_until_it_sleeps()

    def _wait_until_it_sleeps(self) -> None:
        """Return once it is in its loop, before which huey 2 dies of a SIGINT."""
        seen: list[str] = []

        def sleeps() -> bool:
            seen.append(state(self.pid))
            return seen[-5:] == ["S"] * 5

        wait_until(sleeps)


def handles(pid: int, signum: signal.Signals) -> bool:
    """Whether the process *pid* has a handler of its own for *signum*."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "SigCgt":
            return bool(int(value, 16) >> (signum - 1) & 1)
    return False


def listening(pid: int) -> set[int]:
    """The TCP ports that the process *pid* listens on; none once it has ended."""
    inodes = set()
    try:
        links = [*Path(f"/proc/{pid}/fd").iterdir()]
        tables = [
            Path(f"/proc/{pid}/net/{table}").read_text() for table in ("tcp", "tcp6")
        ]
    except OSError:
        assert not alive(pid)
        return set()
    for link in links:
        with contextlib.suppress(FileNotFoundError):
            inodes.add(str(link.readlink()))
    found = set()
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTEN and f"socket:[{fields[9]}]" in inodes:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return found


def losses(path: Path) -> dict[str, int]:
    """The losses that a consumer wrote to its LIVE_DROPPED."""
    counts = json.loads(path.read_text())
    return {reason: count for reason, count in counts.items() if count}


def alive(pid: int) -> bool:
    """Whether the process *pid* exists and is no zombie."""
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    """The state of the process *pid* in Linux' words, empty if it does not exist."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return status.rpartition(")")[2].split()[0]


def cpu_seconds(pid: int) -> float:
    """The processor time that the process *pid* has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
