"""Encodable: texts and numbers of the application, as every reader can take them.

UTF-8 has no lone surrogates, OTLP no integers beyond 64 bits, and JSON no NaN.
"""

import math
import operator
from typing import Any, Final

from huey_otel._safety.timeout import or_else

LONGEST: Final = 1_024
"""Characters of a name or an id."""

_MORE: Final = "..."
_BITS: Final = 64


def text(value: str) -> str:
    r"""*value*, in which a lone surrogate is written as `\ud83c`.

    `json.loads` and `os.fsdecode` make them, and no encoder of UTF-8 takes them.
    """
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "backslashreplace").decode()
    return value


def printable(value: str) -> str:
    """*value* for a log, with line breaks and terminal sequences escaped."""
    if value.isprintable():
        return value
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode()
        for one in value
    )


def name(value: object) -> str:
    """*value*, or its `str`, as a text of bounded length."""
    if type(value) is str and value.isascii() and len(value) <= LONGEST:
        return value
    if type(value) is not str:
        value = or_else(lambda: _exact(value), lambda _: f"<{type(value).__name__}>")
    if len(value) > LONGEST:
        value = value[: LONGEST - len(_MORE)] + _MORE
    return text(value)


def _exact(value: object) -> str:
    # A subclass of str, which `str` may return, is unknown to `marshal`.
    return str.__str__(value if isinstance(value, str) else str(value))


def number(value: Any) -> float | None:
    """*value* as an int of 64 bits or a finite float; None if it is neither."""
    if type(value) is int and value.bit_length() < _BITS:
        return value
    if type(value) is not int and type(value) is not float:
        value = or_else(lambda: _number(value), lambda _: None)
    if type(value) is float:
        return value if math.isfinite(value) else None
    return value if value is not None and value.bit_length() < _BITS else None


def _number(value: Any) -> float | None:
    if hasattr(type(value), "__index__"):
        return operator.index(value)
    return float(value) if hasattr(type(value), "__float__") else None
