"""Positions in a stream: after which entry a listener reads, and what it is told."""

import re
from typing import Final, NamedTuple, Self

from huey_otel._safety.redaction import shown

Id = tuple[int, int]
"""An entry's milliseconds of the server's clock, and its number in these."""

FIRST: Final = (0, 0)
"""Before all entries."""

BEGINNING: Final = "beginning"
_BITS: Final = 64
_LONGEST: Final = 10 * 366 * 86_400
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGO: Final = re.compile(r"(\d{1,9})([smhd])")
_POSITION: Final = re.compile(r"(\d{1,20})-(\d{1,20})(?:/(\d{1,20}))?")

ACCEPTED: Final = (
    "a listener's `position`, the id of an entry such as 1795346713638-0, a time ago"
    f" such as 90s, 10m, 3h or 2d, {BEGINNING!r}, or None for what comes from now on"
)


class Position(NamedTuple):
    """After the entry *id*, up to which *added* were ever added, None if unknown."""

    id: Id
    added: int | None = None

    @classmethod
    def of(cls, text: str) -> Self | None:
        """The position that *text* means, None if it is none."""
        found = _POSITION.fullmatch(text)
        if found is None:
            return None
        numbers = [int(one) for one in found.groups() if one is not None]
        if any(one.bit_length() > _BITS for one in numbers):
            return None
        milliseconds, number, *added = numbers
        return cls((milliseconds, number), added[0] if added else None)

    def __str__(self) -> str:
        spelled = spell(self.id)
        return spelled if self.added is None else f"{spelled}/{self.added}"


class Ago(NamedTuple):
    """So many seconds before the server's time."""

    seconds: int


Since = Position | Ago | None
"""Where a listener begins: None is behind the last entry."""


def since_of(given: object) -> Since:
    """What *given* means; TypeError or ValueError if it is nothing of that kind."""
    if given is None:
        return None
    if not isinstance(given, str):
        raise TypeError(f"since={shown(given)}: expected {ACCEPTED}")
    text = given.strip()
    if text == BEGINNING:
        return Position(FIRST)
    ago = _AGO.fullmatch(text)
    seconds = int(ago[1]) * _UNITS[ago[2]] if ago else 0
    meant = Ago(seconds) if ago else Position.of(text)
    if meant is None or seconds > _LONGEST:
        raise ValueError(f"since={shown(given)}: expected {ACCEPTED}")
    return meant


def id_of(spelled: bytes | str) -> Id:
    """The id that Redis has *spelled*."""
    text = spelled.decode() if isinstance(spelled, bytes) else spelled
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number or 0)


def spell(entry: Id) -> str:
    """*entry* as Redis spells it."""
    return f"{entry[0]}-{entry[1]}"
