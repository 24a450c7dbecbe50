"""A terminal: a program on a pseudo-terminal, and what stands on its screen."""

import fcntl
import os
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence

import pyte
import pytest

from tests.support.programs import ROOT
from tests.support.waiting import wait_until


class Terminal:
    """Runs *command* with *environ* in a terminal of *columns* and *lines*.

    `raw` has all that it wrote.
    """

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self.raw = b""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._main, own = os.openpty()
        self._set_size(columns, lines)
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={"TERM": "xterm", **environ},
            # Its controlling terminal, so that Ctrl-C and a new size reach it.
            preexec_fn=lambda: os.login_tty(own),
            pass_fds=(own,),
        )
        os.close(own)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def close(self) -> None:
        """End the program, if it has not, and the terminal."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._main)

    @property
    def lines(self) -> list[str]:
        """What stands there."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """What stands there, in one text."""
        return "\n".join(self.lines)

    @property
    def modes(self) -> list[object]:
        """The modes of the terminal, as `termios.tcgetattr` returns them."""
        return termios.tcgetattr(self._main)

    def shows(self, *texts: str) -> None:
        """Wait until all *texts* stand there."""
        try:
            wait_until(lambda: all(text in self.text for text in texts))
        except pytest.fail.Exception:
            missing = [text for text in texts if text not in self.text]
            pytest.fail(f"{missing} not on the screen:\n{self.text}")

    def press(self, *keys: str) -> None:
        """Press *keys*."""
        for key in keys:
            self.press_bytes(key.encode())

    def press_bytes(self, data: bytes) -> None:
        """Let *data* come, which may be a part of a key."""
        os.write(self._main, data)

    def resize(self, columns: int, lines: int) -> None:
        """Make it as large."""
        with self._lock:
            self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    def end(self, signum: signal.Signals | None = None) -> int:
        """The exit code, after *signum*."""
        if signum is not None:
            self.process.send_signal(signum)
        return self.process.wait(60)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(
            self._main, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0)
        )

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._main, 65_536)
            except OSError:
                # The program has ended.
                return
            if not data:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)
