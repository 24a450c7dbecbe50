"""What colours mean, from which value on a number is bad, and words for numbers."""

from collections.abc import Mapping
from typing import Any, Final

Json = dict[str, Any]

GOOD: Final = "green"
DOUBTFUL: Final = "yellow"
BAD: Final = "red"
UNKNOWN: Final = "orange"
NEUTRAL: Final = "text"
REST: Final = "#808080"
DASH: Final = "\N{EN DASH}"

OUTCOMES: Final[Mapping[str, str]] = {
    "success": GOOD,
    "failure": BAD,
    "error": BAD,
    "timeout": "dark-orange",
    "lost": "purple",
    "locked": "yellow",
    "rate_limited": "light-yellow",
    "revoked": "dark-blue",
    "expired": "blue",
    "canceled": "light-blue",
    "interrupted": "light-purple",
    "retry_requested": "super-light-blue",
}
"""Of tasks and attempts."""

EVENTS: Final[Mapping[str, str]] = {
    "started": "blue",
    "finished": GOOD,
    "error-task": BAD,
    "timeout": OUTCOMES["timeout"],
    "lost": OUTCOMES["lost"],
    "retrying": "orange",
    "scheduled": "light-blue",
    "locked": OUTCOMES["locked"],
    "rate-limited": OUTCOMES["rate_limited"],
}
"""Of the most frequent events."""

COUNT: Final = "locale"
SECONDS: Final = "s"
PER_SECOND: Final = "suffix:/s"
SHARE: Final = "percentunit"
BYTES: Final = "bytes"
SINCE: Final = "dateTimeFromNow"


def thresholds(base: str, *steps: tuple[float, str]) -> Json:
    """Give the colour *base*, and another from each value on."""
    lowest: list[Json] = [{"color": base, "value": None}]
    rest = [{"color": colour, "value": value} for value, colour in steps]
    return {"mode": "absolute", "steps": lowest + rest}


def word_for_nan(text: str, colour: str) -> Json:
    """Show *text* for what is not known."""
    result = {"text": text, "color": colour, "index": 0}
    return {"type": "special", "options": {"match": "nan", "result": result}}


def words(meanings: Mapping[int, tuple[str, str]]) -> Json:
    """Show a word and a colour for each number."""
    return {
        "type": "value",
        "options": {
            str(number): {"text": text, "color": colour, "index": number}
            for number, (text, colour) in meanings.items()
        },
    }


def fixed(colour: str) -> Json:
    """Give the property of a field that is always of this *colour*."""
    return {"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}


def named(name: str, *properties: Json) -> Json:
    """Override *properties* of the field *name*."""
    matcher = {"id": "byName", "options": name}
    return {"matcher": matcher, "properties": list(properties)}


def coloured(colours: Mapping[str, str]) -> list[Json]:
    """Give each series of these names its colour."""
    return [named(name, fixed(colour)) for name, colour in colours.items()]
