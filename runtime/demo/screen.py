"""What a demo shows: a line for each event, and a table of all of them per task."""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from huey_otel import events as e
from huey_otel.events import Event
from runtime.load.ledger import Difference

WIDTH = 120
"""Columns, where there is no terminal to ask."""

COLOURS: Mapping[str, str] = {
    e.EVENT_FINISHED: "green",
    e.EVENT_STARTED: "cyan",
    e.EVENT_SCHEDULED: "blue",
    e.EVENT_CHECKING_PERIODIC: "blue",
    e.EVENT_SCHEDULING_PERIODIC: "blue",
    e.EVENT_RETRYING: "yellow",
    e.EVENT_LOCKED: "magenta",
    e.EVENT_RATE_LIMITED: "magenta",
    e.EVENT_REVOKED: "magenta",
    e.EVENT_CANCELED: "magenta",
    e.EVENT_EXPIRED: "magenta",
}
"""By status; what is not here went wrong, and is red."""

COLUMNS: Mapping[str, str] = {
    e.EVENT_STARTED: "started",
    e.EVENT_FINISHED: "finished",
    e.EVENT_ERROR_TASK: "failed",
    e.EVENT_TIMEOUT: "timeout",
    e.EVENT_RETRYING: "retried",
    e.EVENT_SCHEDULED: "scheduled",
    e.EVENT_LOCKED: "locked",
    e.EVENT_RATE_LIMITED: "limited",
    e.EVENT_REVOKED: "revoked",
    e.EVENT_EXPIRED: "expired",
    e.EVENT_CANCELED: "canceled",
}


class Screen:
    """Prints to *console*, or to a terminal or file by what standard output is."""

    def __init__(self, console: Console | None = None) -> None:
        if console is None:
            console = Console(highlight=False)
            if not console.is_terminal:
                console = Console(highlight=False, width=WIDTH)
        self._console = console
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def say(self, text: str, style: str = "dim") -> None:
        """Print a line of our own."""
        self._console.print(text, style=style, markup=False, soft_wrap=True)

    def heading(self) -> None:
        """Name the columns of what `event` prints."""
        row = ("time", "event", "task", "id", "try", "seconds", "worker")
        self._console.print(Text(_row(*row), style="bold"))

    def event(self, event: Event) -> None:
        """Print *event*, and what was raised, if anything was; count it."""
        if event["task"] is not None:
            self._counts[event["task"]][event["status"]] += 1
        seconds = event["timestamp"]
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
        duration = event.get("duration")
        row = _row(
            f"{clock}.{int(seconds % 1 * 1000):03}",
            event["status"],
            event["task"] or "",
            (event["id"] or "")[:8],
            str(event["attempt"] or ""),
            "" if duration is None else f"{duration:.3f}",
            event["worker"] or "",
        )
        style = COLOURS.get(event["status"], "red")
        self._console.print(Text(row, style=style))
        traceback = event.get("traceback")
        if traceback:
            last = traceback.rstrip().rpartition("\n")[2]
            line = Text(f"{'':14}{last}", style="red", overflow="ellipsis")
            self._console.print(line, no_wrap=True)

    def summary(self, differences: Collection[Difference] | None = None) -> None:
        """Print how often what was seen of which task, and if the ledger agrees."""
        counts = self._counts
        shown = [key for key in COLUMNS if any(each[key] for each in counts.values())]
        table = Table(
            title="\nWhat the listener saw",
            title_style="bold",
            title_justify="left",
            header_style="bold underline",
            box=None,
            padding=(0, 1, 0, 0),
        )
        table.add_column("task", no_wrap=True)
        for status in shown:
            style = COLOURS.get(status, "red")
            table.add_column(
                COLUMNS[status], justify="right", style=style, overflow="fold"
            )
        if differences is not None:
            table.add_column("ledger", no_wrap=True)
        for task, seen in sorted(counts.items()):
            row = [task, *(str(seen[status] or "") for status in shown)]
            if differences is not None:
                differs = any(each.task == task for each in differences)
                row.append("differs" if differs else "agrees")
            table.add_row(*row)
        self._console.print(table)
        for each in differences or ():
            self.say(str(each), "red")


def _row(*cells: str) -> str:
    clock, status, task, id_, attempt, seconds, worker = cells
    left = f"{clock:12}  {status:19}  {task:16}  {id_:8}"
    return f"{left}  {attempt:>3}  {seconds:>7}  {worker}"
