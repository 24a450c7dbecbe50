"""Regular expressions that Prometheus takes: those of RE2, which Python's are not."""

import re
import warnings
from typing import Final

# What Python takes and RE2 does not. First what has to be passed over as a whole.
_PARTS: Final = re.compile(
    r"""
    (?P<escape>\\.)
    | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
    | (?P<group>\(\?(?:<?[=!]|P=|[#>(]|[aiLmsux]*[aLux]))
    | (?P<greedy>[*+?]\+)
    | \{(?P<least>\d*)(?:,(?P<most>\d*))?\}\+?
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES: Final = re.compile(r"\\[ZuUN1-9]")
_ESCAPES_IN_A_SET: Final = re.compile(r"\\[buUN]")
_MOST_REPEATS: Final = 1_000


def check(pattern: str) -> None:
    """Raise ValueError, which says why, if Prometheus does not take *pattern*."""
    try:
        with warnings.catch_warnings():
            # Of [[:alpha:]], which means more to RE2.
            warnings.simplefilter("ignore", FutureWarning)
            re.compile(pattern)
    except re.error as error:
        raise ValueError(str(error)) from error
    for part in _PARTS.finditer(pattern):
        if not _is_known(part):
            raise ValueError(f"Prometheus (RE2) does not know {part[0]}")


def _is_known(part: re.Match[str]) -> bool:
    match part.lastgroup:
        case "escape":
            return not _ESCAPES.match(part[0])
        case "set":
            return not _ESCAPES_IN_A_SET.search(part[0].replace("\\\\", ""))
        case "group" | "greedy":
            return False
        case _:
            # To RE2 {,5} is text.
            if part[0].startswith("{,") or (part[0][-1] == "+" and part["least"]):
                return False
            repeats = [int(part[name] or 0) for name in ("least", "most")]
            return max(repeats) <= _MOST_REPEATS
