"""Values of settings: an argument, else a variable, else a default."""

from collections.abc import Mapping
from enum import Enum
from typing import Final, Literal, TypeVar

T = TypeVar("T")

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")
_SECONDS: Final = "expected a number of seconds, 0 or more"


class Unset(Enum):
    """Tells an argument that was not given from one that is None."""

    UNSET = "not given"

    def __repr__(self) -> str:
        return self.value


UNSET: Final = Unset.UNSET
NotGiven = Literal[Unset.UNSET]


def given_or_none(given: T | NotGiven) -> T | None:
    """*given*, None where nothing was."""
    return None if given is UNSET else given


def flag(
    given: bool | NotGiven,  # noqa: FBT001 - a setting's value, not a switch
    env: Mapping[str, str],
    name: str,
    argument: str,
    *,
    default: bool,
) -> bool:
    """True or False, however the variable spells it."""
    if given is not UNSET:
        if not isinstance(given, bool):
            raise TypeError(f"{argument}={given!r}: expected True or False")
        return given
    raw = env.get(name)
    if raw is None:
        return default
    if raw.strip().lower() in _TRUE:
        return True
    if raw.strip().lower() in _FALSE:
        return False
    raise ValueError(f"{name}={raw!r}: expected one of {', '.join(_TRUE + _FALSE)}")


def choice(
    given: str | NotGiven,
    env: Mapping[str, str],
    name: str,
    argument: str,
    accepted: tuple[str, ...],
) -> str:
    """One of *accepted*, of which the first is the default."""
    shown = f"{argument}={given!r}"
    if given is UNSET:
        given = env.get(name, accepted[0])
        shown = f"{name}={given!r}"
    if given not in accepted:
        raise ValueError(f"{shown}: expected one of {', '.join(accepted)}")
    return given


def seconds(
    given: float | NotGiven,
    env: Mapping[str, str],
    name: str,
    argument: str,
    *,
    default: float,
) -> float:
    """A time that one can wait."""
    if given is not UNSET:
        return checked_seconds(given, f"{argument}={given!r}")
    raw = env.get(name)
    if raw is None:
        return default
    try:
        return checked_seconds(float(raw), f"{name}={raw!r}")
    except ValueError:
        raise ValueError(f"{name}={raw!r}: {_SECONDS}") from None


def checked_seconds(given: object, shown: str) -> float:
    """*given* if it is a time that one can wait; errors call it *shown*."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{shown}: {_SECONDS}")
    if not 0 <= given < float("inf"):
        raise ValueError(f"{shown}: {_SECONDS}")
    return float(given)
