"""Durations as `top` shows them: few characters wide, exact to two digits."""

from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))
UNKNOWN: Final = "?"


def age(seconds: float | None) -> str:
    """A number of seconds, short: ``40s``, ``4m10s``, ``26h``, ``3d``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{max(0, int(seconds))}s"
    if seconds < 600:
        minutes, rest = divmod(int(seconds), 60)
        return f"{minutes}m{rest:02}s"
    for size, unit in _UNITS:
        if seconds >= 2 * size or unit == "m":
            return f"{seconds / size:.0f}{unit}"
    raise AssertionError


def took(seconds: float | None) -> str:
    """How many *seconds* a task took: ``12ms``, ``1.2s``; empty for None."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1_000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 60 else age(seconds)
