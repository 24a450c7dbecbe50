"""What an event says of an exception: its qualified class, and a bounded traceback."""

import traceback
from typing import Final

LARGEST: Final = 16_384
"""Bytes of UTF-8 that a traceback has at most."""

_CUT: Final = "\n... {} characters left out ...\n"


def class_name(error: BaseException) -> str:
    """The class of *error* as it is imported; builtins without their module."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def message(error: BaseException) -> str:
    """What *error* says, if it can; its own `str` may raise."""
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 - as traceback does
        return f"<exception str() failed: {type(broken).__name__}>"


def text(error: BaseException) -> str:
    """The traceback of *error*, shortened in the middle where it is too long."""
    return shortened("".join(traceback.format_exception(error)))


def shortened(whole: str) -> str:
    """*whole*, or its two ends around a mark; at most 16 kB in UTF-8."""
    if len(whole) * 4 <= LARGEST or _size(whole) <= LARGEST:
        return whole
    # The mark has a number of at most 20 digits.
    room = (LARGEST - len(_CUT) - 20) // 2
    head = _encoded(whole[:room])[:room].decode(errors="ignore")
    tail = _encoded(whole[-room:])[-room:].decode(errors="ignore")
    return head + _CUT.format(len(whole) - len(head) - len(tail)) + tail


def _encoded(piece: str) -> bytes:
    return piece.encode("utf-8", "backslashreplace")


def _size(whole: str) -> int:
    return len(_encoded(whole))
