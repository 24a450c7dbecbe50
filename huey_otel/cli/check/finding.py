"""The finding: what is wrong, and how bad that is."""

import enum
from dataclasses import dataclass


class Level(enum.StrEnum):
    """How bad a finding is, worst first."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """Its place, worst first."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, in one sentence; `codes` says by *code* what to do.

    *queue* is empty where it is about a whole server or process. *cannot_tell* is true
    where it says only that nothing could be found out.
    """

    level: Level
    code: str
    text: str
    queue: str = ""
    cannot_tell: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Stands where a fact would be, and says why it is not known."""

    why: str


def cannot_tell(code: str, whether: str, unknown: Unknown, queue: str = "") -> Finding:
    """What is said in place of the finding *code*, for which a fact is not known."""
    text = f"cannot tell {whether}: {unknown.why}"
    return Finding(Level.NOTE, code, text, queue, cannot_tell=True)
