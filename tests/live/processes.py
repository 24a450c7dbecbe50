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
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | environ,
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

    def wait(self, seconds: float = 30.0) -> int:
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
        """Return once it has set its signal handlers and started all workers."""
        wait_until(lambda: handles(self.pid, signal.SIGTERM))


def handles(pid: int, signum: signal.Signals) -> bool:
    """Whether the process *pid* has a handler of its own for *signum*."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "SigCgt":
            return bool(int(value, 16) >> (signum - 1) & 1)
    return False


def listening(pid: int) -> set[int]:
    """The TCP ports that the process *pid* listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            inodes.add(str(link.readlink()))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
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
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")


def cpu_seconds(pid: int) -> float:
    """The processor time that the process *pid* has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
