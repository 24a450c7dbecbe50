"""Redaction: what a message shows of a value, without its passwords."""

import re
from typing import Final

from huey_otel._safety.failures import class_name, message
from huey_otel._safety.timeout import or_else

_LONGEST: Final = 300
"""Characters of what an error of others says."""


def shown(value: object) -> str:
    """*value* for a message, without what may be a password in it."""
    if isinstance(value, str):
        return repr(masked(value))
    kind = f"<{type(value).__name__}>"
    if isinstance(value, bytes | bytearray | list | tuple | dict | set):
        return kind
    text = or_else(lambda: repr(value), lambda _: kind)
    # Some classes of URLs show all of it, and so does a container of them.
    return kind if "://" in text or "@" in text else text


def said(error: BaseException) -> str:
    """What *error* says, on one line of bounded length, to be followed by more.

    redis-py puts whole pools in angle brackets in there.
    """
    text, before = " ".join(message(error).split()), ""
    while text != before:
        before, text = text, re.sub(r" ?: ?<[^<>]*>|<[^<>]*>", "", text)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    return text.rstrip(" .:") or class_name(error)


def masked(url: str) -> str:
    """*url* without user, password and options, also where it is none."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    # A password that was not quoted may hold anything, also "/", "?" and "#".
    place = re.split("[?#]", rest.rpartition("@")[2])[0]
    if not place.startswith("["):
        # Behind a colon there is a port, or a password without its "@host".
        place = re.sub(r":(?!\d*(/|$))[^/]*", ":***", place)
    return scheme + separator + place
