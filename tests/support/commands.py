"""The command `huey-otel` as a process: in pipes, or in a terminal of its own."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from types import TracebackType
from typing import IO, Self

from tests.support.programs import ROOT, bare_environment
from tests.support.waiting import wait_until


class Command:
    """`python -m huey_otel` with *arguments*; `out` and `err` have its lines so far.

    With *terminal*, columns and lines, its standard output and input are a terminal
    of that size. What it still does is ended at the end of the block.
    """

    def __init__(
        self,
        *arguments: str,
        terminal: tuple[int, int] | None = None,
        cwd: str | os.PathLike[str] = ROOT,
        **environ: str,
    ) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self._master, slave = (None, None) if terminal is None else pty.openpty()
        if terminal is not None:
            columns, lines = terminal
            termios.tcsetwinsize(slave, (lines, columns))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "huey_otel", *arguments],
            cwd=cwd,
            env=bare_environment() | environ,
            stdin=subprocess.DEVNULL if slave is None else slave,
            stdout=subprocess.PIPE if slave is None else slave,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=None if slave is None else _take_terminal,
        )
        if slave is not None:
            os.close(slave)
        out = self.process.stdout if self._master is None else None
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stderr, self.err)),
            threading.Thread(
                target=self._read, args=(out or os.fdopen(self._master, "rb"), self.out)
            ),
        ]
        for thread in self._threads:
            thread.start()

    def said(self, *texts: str) -> Self:
        """Wait until a line of standard error has each of *texts*."""
        wait_until(
            lambda: all(any(text in line for line in self.err) for text in texts)
        )
        return self

    def told(self, *words: str) -> list[str]:
        """The lines of standard error so far that have one of *words*.

        Another thread than that of standard output reads them, and may be behind.
        """
        return [line for line in self.err if any(word in line for word in words)]

    def shown(self, number: int) -> list[str]:
        """The first *number* lines of standard output, once there are as many."""
        wait_until(lambda: len(self.out) >= number)
        return self.out[:number]

    def press(self, keys: bytes) -> None:
        """Press *keys* in its terminal."""
        os.write(self._master, keys)

    def interrupt(self) -> int:
        """Interrupt it as Ctrl-C does, and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(60)
        for thread in self._threads:
            thread.join(60)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ended()

    def _read(self, stream: IO[bytes], lines: list[str]) -> None:
        with stream:
            try:
                for line in stream:
                    lines.append(line.decode().rstrip("\r\n"))
            except OSError:
                # Linux' answer once the last process has left the terminal.
                return


def _take_terminal() -> None:
    """Be the process that the terminal's keys are for."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
