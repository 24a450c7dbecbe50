"""What a demo shows: a line for each event, and a table of all of them per task."""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from huey_otel.events import Event
from runtime.demo import tables
from runtime.demo.books import Mismatch
from runtime.demo.page import Page
from runtime.load.ledger import Difference
from runtime.otlp_receiver import Span

WIDTH = 120
"""Columns, where there is no terminal to ask."""

WIDEST = 86
"""Columns that an event takes at most, with two spaces between them."""


def console() -> Console:
    """Give the console for what standard output is, a terminal or a file."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=WIDTH)


class Screen:
    """Prints to *console*, one thing after the other.

    Another one may be `alive`: it wants a `frame` now and then while it is `up`.
    """

    alive = False

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @contextmanager
    def up(self) -> Iterator[None]:
        """Show events within the block."""
        yield

    def frame(self, page: Page, url: str, spans: Sequence[Span]) -> None:
        """Take the latest *page*, which is at *url*, and the *spans* of a trace."""

    def say(self, text: str, style: str = "dim") -> None:
        """Print a line of our own."""
        self._console.print(text, style=style, markup=False, soft_wrap=True)

    def heading(self) -> None:
        """Name the columns of what `event` prints."""
        row = ("time", "event", "task", "id", "try", "seconds", "worker")
        self._console.print(Text(_row(self._gap, *row), style="bold"))

    def event(self, event: Event) -> None:
        """Print *event*, and what was raised, if anything was; count it."""
        if event["task"] is not None:
            self._counts[event["task"]][event["status"]] += 1
        for line in _lines(event, self._gap):
            self._show(line)

    def summary(self, differences: Collection[Difference] | None = None) -> None:
        """Print how often what was seen of which task, and if the ledger agrees."""
        self._console.print(tables.summary(self._counts, differences))
        for each in differences or ():
            self.say(str(each), "red")

    def metrics(self, page: Page, url: str, mismatches: Collection[Mismatch]) -> None:
        """Print what the metrics page at *url* says, and if the ledger agrees."""
        self._console.print(tables.metrics(page, url, mismatches))
        for each in mismatches:
            self.say(str(each), "red")

    def trace(self, spans: Sequence[Span]) -> None:
        """Print a trace as a tree."""
        self._console.print(tables.trace(spans))

    @property
    def _gap(self) -> str:
        """What is between two columns of an event: one line is to hold it."""
        return "  " if self._console.width > WIDEST else " "

    def _show(self, line: Text) -> None:
        self._console.print(line)


def _lines(event: Event, gap: str) -> Iterator[Text]:
    seconds = event["timestamp"]
    clock = time.strftime("%H:%M:%S", time.localtime(seconds))
    duration = event.get("duration")
    row = _row(
        gap,
        f"{clock}.{int(seconds % 1 * 1000):03}",
        event["status"],
        event["task"] or "",
        (event["id"] or "")[:8],
        str(event["attempt"] or ""),
        "" if duration is None else f"{duration:.3f}",
        event["worker"] or "",
    )
    yield Text(row, style=tables.COLOURS.get(event["status"], "red"))
    traceback = event.get("traceback")
    if traceback:
        last = traceback.rstrip().rpartition("\n")[2]
        text = f"{'':14}{last}"
        yield Text(text, style="red", overflow="ellipsis", no_wrap=True)


def _row(gap: str, *cells: str) -> str:
    clock, status, task, id_, attempt, seconds, worker = cells
    left = (f"{clock:12}", f"{status:19}", f"{task:16}", f"{id_:8}")
    return gap.join((*left, f"{attempt:>3}", f"{seconds:>7}", worker))
