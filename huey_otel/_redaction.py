"""Redaction: what a message shows of a value, without its passwords."""

import re


def shown(value: object) -> str:
    """*value* for a message, without what may be a password in it."""
    if isinstance(value, str):
        return repr(masked(value))
    if isinstance(value, bytes | bytearray | list | tuple | dict | set):
        return f"<{type(value).__name__}>"
    said = repr(value)
    # Some classes of URLs show all of it, and so does a container of them.
    return f"<{type(value).__name__}>" if "://" in said or "@" in said else said


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
