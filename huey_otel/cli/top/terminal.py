"""The terminal: a screen of its own, keys without Enter, and all put back after."""

import codecs
import contextlib
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import termios
import tty
from collections.abc import Sequence
from types import FrameType
from typing import IO, Any, Final, Self, TextIO

_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
"""Another screen, without a cursor, on which a line that is too long is cut."""

_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_KEY: Final = re.compile(
    # A key with a name, as an arrow or F5; one with Alt; or a character.
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[A-Za-z]|[^\[O])|[^\x1b]",
    re.DOTALL,
)
_LONGEST_KEY: Final = 20
_REST_OF_KEY: Final = 0.05
"""Seconds in which the rest of a key comes, after its first byte."""
_PLAIN: Final = str.maketrans("─…●○↑", "-.*o^")
"""What a terminal shows whose encoding lacks these."""
_MOST_SAID: Final = 65_536
"""Bytes of standard error that are shown at the end: the last ones."""


class Terminal:
    """The terminal while it is entered; it is as it was before and after.

    What others write to standard error meanwhile, an application's log for instance,
    would be drawn over: it is shown at the end.
    """

    def __init__(self) -> None:
        self._out = sys.stdout.fileno()
        # Python makes no stream of one that the shell has closed.
        stdin: TextIO | None = sys.stdin
        has_keys = stdin is not None and stdin.isatty()
        self._keys = sys.stdin.fileno() if has_keys else None
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._modes: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._woken, self._wakes = os.pipe()
        os.set_blocking(self._wakes, False)
        self._unread = ""
        self._encoding = sys.stdout.encoding
        self._is_plain = _lacks_some(self._encoding)
        self._stderr: int | None = None
        self._said: IO[bytes] | None = None

    def __enter__(self) -> Self:
        if self._keys is not None:
            self._modes = termios.tcgetattr(self._keys)
        if sys.stderr.isatty():
            sys.stderr.flush()
            self._said = tempfile.TemporaryFile()
            self._stderr = os.dup(sys.stderr.fileno())
            os.dup2(self._said.fileno(), sys.stderr.fileno())
        for signum, handler in (
            # A new size.
            (signal.SIGWINCH, lambda *_: self.wake()),
            (signal.SIGTSTP, self._stop),
            (signal.SIGTERM, _interrupt),
            (signal.SIGQUIT, _interrupt),
            (signal.SIGHUP, _interrupt),
        ):
            self._handlers[signum] = signal.signal(signum, handler)
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)
        with contextlib.suppress(OSError, termios.error):
            # A terminal that is gone needs nothing.
            self._end()
        if self._said is not None and self._stderr is not None:
            sys.stderr.flush()
            os.dup2(self._stderr, sys.stderr.fileno())
            os.close(self._stderr)
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - _MOST_SAID))
            sys.stderr.write(self._said.read().decode(errors="replace"))
            self._said.close()
        os.close(self._woken)
        os.close(self._wakes)

    @property
    def size(self) -> tuple[int, int]:
        """Its columns and lines, as they are now."""
        return shutil.get_terminal_size((80, 24))

    @property
    def has_keys(self) -> bool:
        """Whether keys are heard; otherwise only Ctrl-C ends it."""
        return self._keys is not None

    @property
    def has_more(self) -> bool:
        """Whether `key` returns another one at once."""
        return bool(self._unread) or self._is_readable(0.0)

    def show(self, lines: Sequence[str]) -> None:
        """Draw *lines* over what stands there, in one write: nothing flickers."""
        # Before each line: behind a full one it would erase the last character.
        text = "\r\n".join(f"{_REST_OF_LINE}{line}" for line in lines)
        self._write(f"{_HOME}{text}")

    def key(self, seconds: float) -> str | None:
        """The next key, None if none comes in *seconds*; "" after `wake`."""
        if not self._unread:
            sources = [self._woken, *([] if self._keys is None else [self._keys])]
            ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
            if self._woken in ready:
                os.read(self._woken, 1_024)
                return ""
            if not ready or not self._read():
                return None
        found = _KEY.match(self._unread)
        while found is None and len(self._unread) < _LONGEST_KEY:
            # The first bytes of a key, or Escape.
            if not self._is_readable(_REST_OF_KEY) or not self._read():
                break
            found = _KEY.match(self._unread)
        size = 1 if found is None else found.end()
        key, self._unread = self._unread[:size], self._unread[size:]
        return key

    def _is_readable(self, seconds: float) -> bool:
        if self._keys is None:
            return False
        return bool(select.select([self._keys], [], [], seconds)[0])

    def _read(self) -> bool:
        """Read what was typed; False if that is no whole character."""
        if self._keys is None:
            return False
        data = os.read(self._keys, 1_024)
        if not data:
            # It was closed, and will never be a key.
            self._keys = None
        self._unread += self._decode(data)
        return bool(data and self._unread)

    def _begin(self) -> None:
        if self._keys is not None:
            # Ctrl-C and Ctrl-Z stay signals.
            tty.setcbreak(self._keys)
        self._write(_ENTER)

    def _end(self) -> None:
        self._write(_LEAVE)
        if self._keys is not None and self._modes is not None:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._modes)

    def _write(self, text: str) -> None:
        # Not by sys.stdout, which a signal's handler may not use while it writes.
        if self._is_plain:
            text = text.translate(_PLAIN)
        data = text.encode(self._encoding, "backslashreplace")
        while data:
            data = data[os.write(self._out, data) :]

    def wake(self) -> None:
        """Let `key` return "" at once, from any thread."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wakes, b".")

    def _stop(self, _signum: int, _frame: FrameType | None) -> None:
        """Stop as Ctrl-Z says, and go on where the shell's `fg` says."""
        self._end()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._begin()
        self.wake()


def _lacks_some(encoding: str) -> bool:
    try:
        "".join(map(chr, _PLAIN)).encode(encoding)
    except UnicodeEncodeError:
        return True
    return False


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
