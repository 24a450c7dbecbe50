"""Redaction: values and URLs for a message, without their passwords."""

import re
from typing import Final

from huey_otel._safety.failures import class_name, message
from huey_otel._safety.timeout import or_else

_LONGEST: Final = 300
"""Characters of another library's error message."""


def shown(value: object) -> str:
    """*value* for a message, without what may be a password."""
    if isinstance(value, str):
        return repr(masked(value))
    kind = f"<{type(value).__name__}>"
    if isinstance(value, bytes | bytearray | list | tuple | dict | set):
        return kind
    text = or_else(lambda: repr(value), lambda _: kind)
    # The repr of some URL classes, and of their containers, shows the password.
    return kind if "://" in text or "@" in text else text


def said(error: BaseException) -> str:
    """The message of *error*, on one line of bounded length, without a full stop.

    redis-py puts whole pools in angle brackets into it.
    """
    text, before = " ".join(message(error).split()), ""
    while text != before:
        before, text = text, re.sub(r" ?: ?<[^<>]*>|<[^<>]*>", "", text)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return text.rstrip(" .:") or class_name(error)


def masked(url: str) -> str:
    """*url* without user, password and options, also if it is no valid URL."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    # A password that was not quoted may hold anything, also "/", "?" and "#".
    place = re.split("[?#]", rest.rpartition("@")[2])[0]
    if not place.startswith("["):
        # Behind a colon there is a port, or a password without its "@host".
        place = re.sub(r":(?!\d*(/|$))[^/]*", ":***", place)
    return scheme + separator + place
