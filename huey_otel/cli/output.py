"""What the command prints: texts are shown and never obeyed, in colour where wanted."""

import json
import os
import select
import shutil
import sys
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from huey_otel._names import DISTRIBUTION
from huey_otel._safety.encodable import printable

_COLOURS: Final = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "bold": "1",
    "dim": "2",
}
_MORE: Final = "…"
_JOINED: Final = frozenset(map(chr, range(0x1160, 0x1200)))
"""Vowels and finals of Hangul, which stand in the cell of what is before them."""


def say(text: str) -> None:
    """Print one line to standard error, where it is in the way of no other program."""
    sys.stderr.write(f"{DISTRIBUTION}: {printable(text)}\n")
    sys.stderr.flush()


def is_terminal() -> bool:
    """Whether people read standard output, and no program."""
    return sys.stdout.isatty()


def painted(text: str, colour: str) -> str:
    """*text* in *colour*, where that is wanted, as Python's own tracebacks."""
    env = os.environ
    wanted = not env.get("NO_COLOR") and (
        bool(env.get("FORCE_COLOR")) or (env.get("TERM") != "dumb" and is_terminal())
    )
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if wanted else text


def columns() -> int:
    """COLUMNS, else the columns of the terminal as it is now, else 80."""
    return shutil.get_terminal_size().columns


def cell(
    text: str,
    columns: int,
    *,
    right: bool = False,
    path: bool = False,
    end: bool = False,
) -> str:
    """*text* in exactly so many *columns* of a terminal, filled up, or cut and marked.

    It stands to the left, or to the *right*. Of a dotted *path* the end is kept, from
    a dot on, and with *end* as much of it as there is room for.
    """
    # A column has no room for more of a text, which may have megabytes.
    from_end = path or end
    text = printable(text[-10 * columns :] if from_end else text[: 10 * columns])
    if path and width(text) > columns:
        names = text.split(".")
        while len(names) > 1 and width(_MORE + ".".join(names)) > columns:
            del names[0]
        text = _MORE + ".".join(names)
    if end and width(text) > columns:
        text = text[1 - columns :] if columns > 1 else ""
        while width(_MORE + text) > columns:
            text = text[1:]
        text = _MORE + text
    if width(text) > columns:
        text = text[: columns - 1]
        while width(text + _MORE) > columns:
            text = text[:-1]
        text += _MORE
    room = " " * (columns - width(text))
    return room + text if right else text + room


def wrapped(text: str, columns: int) -> list[str]:
    """All of *text* in lines of so many *columns* at most."""
    lines, left = [""], columns
    for one in printable(text.expandtabs()):
        taken = width(one)
        if taken > left:
            lines.append("")
            left = columns
        lines[-1] += one
        left -= taken
    return lines


def width(text: str) -> int:
    """The columns that *text* takes, which has no control characters."""
    if text.isascii():
        return len(text)
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me") or character in _JOINED:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def raise_if_unread() -> None:
    """Raise BrokenPipeError if the reader of standard output is gone.

    A write would say so, but only when there is something to write.
    """
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if any(found & select.POLLERR for _, found in poll.poll(0)):
        raise BrokenPipeError


def json_line(value: Mapping[str, Any]) -> str:
    """*value* as one line of JSON, in ASCII: no terminal obeys it, any reader takes it.

    What JSON has not, as NaN, or cannot be that deep, is null.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return json.dumps({key: _flat(one) for key, one in value.items()})


def _flat(value: Any) -> Any:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return value
