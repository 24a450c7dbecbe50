"""Words for people: times and numbers as they are said."""

from typing import Final

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))


def spoken(seconds: float) -> str:
    """A number of *seconds* in its largest unit, such as ``14 min``."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def counted(number: int, thing: str) -> str:
    """Such as ``1 message`` or ``1,204 messages``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
