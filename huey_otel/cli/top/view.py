"""The view: what a person has asked to see, and what each key changes about it."""

import enum
from dataclasses import dataclass, replace
from typing import Final

_ESCAPE: Final = "\x1b"
_DELETE: Final = ("\x7f", "\b")
_LONGEST_FILTER: Final = 100

UP: Final = ("k", "\x1b[A", "\x1bOA")
DOWN: Final = ("j", "\x1b[B", "\x1bOB")


class Shown(enum.Enum):
    """The screens that there are."""

    OVERVIEW = enum.auto()
    ERRORS = enum.auto()
    TRACEBACK = enum.auto()


@dataclass(frozen=True, slots=True)
class View:
    """What is shown; *chosen* is a failure, *scrolled* lines of its traceback.

    *queue* is which one of *queues* it is. *below* is the screen under a traceback.
    """

    shown: Shown = Shown.OVERVIEW
    filter: str = ""
    typing: bool = False
    chosen: int = 0
    scrolled: int = 0
    queue: int = 0
    queues: int = 1
    below: Shown = Shown.OVERVIEW
    ended: bool = False

    def after(self, key: str, *, failures: int) -> "View":
        """The view after *key* was pressed, while it has so many *failures*."""
        if self.typing:
            return self._typed(key)
        match key:
            case "q" | "\x1b":
                return self._back(ended=key == "q")
            case "/":
                return replace(self, typing=True, filter="", chosen=0)
            case "e":
                errors = self.shown is Shown.OVERVIEW
                return replace(self, shown=Shown.ERRORS if errors else Shown.OVERVIEW)
            case "t" if self.shown is not Shown.TRACEBACK:
                return replace(
                    self, shown=Shown.TRACEBACK, below=self.shown, scrolled=0
                )
            case "\t":
                following = (self.queue + 1) % self.queues
                return replace(self, queue=following, chosen=0, scrolled=0)
            case _ if key in UP or key in DOWN:
                return self._moved(-1 if key in UP else 1, failures)
        return self

    def _typed(self, key: str) -> "View":
        if key in ("\r", "\n"):
            return replace(self, typing=False)
        if key == _ESCAPE:
            return replace(self, typing=False, filter="")
        if key in _DELETE:
            return replace(self, filter=self.filter[:-1])
        if key.isprintable() and len(self.filter) < _LONGEST_FILTER:
            return replace(self, filter=self.filter + key)
        return self

    def _back(self, *, ended: bool) -> "View":
        match self.shown:
            case Shown.TRACEBACK:
                return replace(self, shown=self.below)
            case Shown.ERRORS:
                return replace(self, shown=Shown.OVERVIEW)
        return replace(self, ended=ended, filter="" if not ended else self.filter)

    def _moved(self, by: int, failures: int) -> "View":
        if self.shown is Shown.TRACEBACK:
            return replace(self, scrolled=max(0, self.scrolled + by))
        last = max(0, failures - 1)
        return replace(self, chosen=min(last, max(0, self.chosen + by)))
