"""Failures: the qualified class of an exception, and a bounded traceback."""

import traceback
from typing import Final

from huey_otel._safety import encodable
from huey_otel._safety.timeout import or_else

LARGEST: Final = 16_384
"""Bytes of UTF-8 that a traceback has at most."""

_CUT: Final = "\n... {} characters left out ...\n"
_UNKNOWN: Final = "unknown"


def class_name(error: BaseException) -> str:
    """The dotted class of *error*, builtins without module; a metaclass may hide it."""
    kind = type(error)
    name = or_else(
        lambda: _dotted(kind),
        lambda _: or_else(lambda: f"{kind.__name__}", lambda _: _UNKNOWN),
    )
    return encodable.name(name)


def _dotted(kind: type) -> str:
    module: object = kind.__module__
    if isinstance(module, str) and module != "builtins":
        return f"{module}.{kind.__qualname__}"
    return f"{kind.__qualname__}"


def message(error: BaseException) -> str:
    """The message of *error*, whose own `str` may raise."""
    return encodable.text(
        or_else(
            lambda: str(error),
            lambda broken: f"<exception str() failed: {class_name(broken)}>",
        )
    )


def text(error: BaseException) -> str | None:
    """The traceback of *error*, shortened in the middle where it is too long.

    None where `traceback` raises, as for a SyntaxError with odd attributes.
    """
    return or_else(
        lambda: shortened("".join(traceback.format_exception(error))), lambda _: None
    )


def shortened(whole: str, largest: int = LARGEST) -> str:
    """*whole*, or its two ends around a mark; at most *largest* bytes in UTF-8."""
    whole = encodable.text(whole)
    if len(whole) * 4 <= largest or len(whole.encode()) <= largest:
        return whole
    # The mark has a number of at most 20 digits.
    room = (largest - len(_CUT) - 20) // 2
    head = whole[:room].encode()[:room].decode(errors="ignore")
    tail = whole[-room:].encode()[-room:].decode(errors="ignore")
    return head + _CUT.format(len(whole) - len(head) - len(tail)) + tail
