"""The view: what a person has asked to see, and what each key changes about it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from huey_otel.cli.top.snapshot import Failure

_ESCAPE: Final = "\x1b"
_DELETE: Final = ("\x7f", "\b")
_LONGEST_FILTER: Final = 100

_MOVES: Final = {
    **dict.fromkeys(("k", "\x1b[A", "\x1bOA"), -1),
    **dict.fromkeys(("j", "\x1b[B", "\x1bOB"), 1),
    # Page up and page down.
    "\x1b[5~": -10,
    "\x1b[6~": 10,
}
"""By how many lines these keys move."""


class Shown(enum.Enum):
    """The screens that there are."""

    OVERVIEW = enum.auto()
    ERRORS = enum.auto()
    TRACEBACK = enum.auto()


@dataclass(frozen=True, slots=True)
class View:
    """What is shown; *chosen* is a failure, *scrolled* lines of its traceback.

    None is chosen while it is to be the newest. *queue* is which one of *queues* it
    is. *below* is the screen under a traceback. Without *keys* none will come.
    """

    shown: Shown = Shown.OVERVIEW
    filter: str = ""
    typing: bool = False
    chosen: Failure | None = None
    scrolled: int = 0
    queue: int = 0
    queues: int = 1
    below: Shown = Shown.OVERVIEW
    keys: bool = True
    ended: bool = False

    def place(self, failures: Sequence[Failure]) -> int:
        """The place of the chosen one in *failures*, which it may have left."""
        if self.chosen is None:
            return 0
        try:
            return failures.index(self.chosen)
        except ValueError:
            return max(0, len(failures) - 1)

    def after(self, key: str, *, failures: Sequence[Failure], most: int) -> "View":
        """The view after *key* was pressed, while it has these *failures*.

        *most* is how many lines can be scrolled.
        """
        if self.typing:
            return self._typed(key)
        match key:
            case "q" | "\x1b":
                return self._back(ended=key == "q")
            case "/":
                return replace(self, typing=True, filter="", chosen=None)
            case "e":
                if self.shown is Shown.OVERVIEW:
                    return replace(self, shown=Shown.ERRORS)
                return replace(self, shown=Shown.OVERVIEW, chosen=None)
            case "t" if self.shown is not Shown.TRACEBACK:
                # It stays while others come: it is to be read.
                chosen = failures[self.place(failures)] if failures else None
                return replace(
                    self,
                    shown=Shown.TRACEBACK,
                    below=self.shown,
                    scrolled=0,
                    chosen=chosen,
                )
            case "\t":
                following = (self.queue + 1) % self.queues
                return replace(self, queue=following, chosen=None, scrolled=0)
            case _ if key in _MOVES:
                return self._moved(_MOVES[key], failures, most)
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
            case Shown.TRACEBACK if self.below is Shown.ERRORS:
                return replace(self, shown=Shown.ERRORS)
            case Shown.TRACEBACK | Shown.ERRORS:
                return replace(self, shown=Shown.OVERVIEW, chosen=None)
        return replace(self, ended=ended, filter="" if not ended else self.filter)

    def _moved(self, by: int, failures: Sequence[Failure], most: int) -> "View":
        if self.shown is Shown.TRACEBACK:
            return replace(self, scrolled=max(0, min(most, self.scrolled + by)))
        if self.shown is Shown.OVERVIEW:
            return self
        at = max(0, min(len(failures) - 1, self.place(failures) + by))
        return replace(self, chosen=failures[at] if at else None)
