"""The tables of a demo: what the listener saw, what the metrics page says, a trace."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from huey_otel import events as e
from runtime.demo.books import Mismatch
from runtime.demo.page import COUNTED, FAILED, FINISHED, RETRIED, STARTED, Page
from runtime.demo.trees import branches
from runtime.load.ledger import Difference
from runtime.otlp_receiver import Span

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

OFTEN: Mapping[str, str] = {
    e.EVENT_STARTED: "started",
    e.EVENT_FINISHED: "finished",
    e.EVENT_ERROR_TASK: "failed",
    e.EVENT_RETRYING: "retried",
}
"""What most tasks have; each has a column."""

RARELY: Mapping[str, str] = {
    e.EVENT_TIMEOUT: "timed out",
    e.EVENT_SCHEDULED: "scheduled",
    e.EVENT_LOCKED: "locked",
    e.EVENT_RATE_LIMITED: "limited",
    e.EVENT_REVOKED: "revoked",
    e.EVENT_EXPIRED: "expired",
    e.EVENT_CANCELED: "canceled",
}
"""What few have; all of it has one column, or 80 would not do."""

COUNTERS: Mapping[str, str] = {
    STARTED: e.EVENT_STARTED,
    FINISHED: e.EVENT_FINISHED,
    FAILED: e.EVENT_ERROR_TASK,
    RETRIED: e.EVENT_RETRYING,
}
"""The columns of the metrics page, with the status whose colour they have."""


def summary(
    counts: Mapping[str, Counter[str]], differences: Collection[Difference] | None
) -> RenderableType:
    """How often what was seen of which task; the ledger if there are *differences*."""
    table = _table("What the listener saw", "task")
    for status, column in OFTEN.items():
        style = COLOURS.get(status, "red")
        table.add_column(column, justify="right", style=style, no_wrap=True)
    table.add_column("and")
    if differences is not None:
        table.add_column("ledger", no_wrap=True)
    for task, seen in sorted(counts.items()):
        row = [task, *(_number(seen[status]) for status in OFTEN)]
        cells: list[str | Text] = [*row, _rarely(seen)]
        if differences is not None:
            cells.append(_verdict(task, differences))
        table.add_row(*cells)
    if differences is None:
        return table
    return Group(
        table,
        _note(
            "ledger: the load has noted what each of its tasks must leave; it agrees"
            " when all of that was heard, and nothing else"
        ),
    )


def metrics(
    page: Page, url: str, mismatches: Collection[Mismatch] | None
) -> RenderableType:
    """What the *page* at *url* says of each task, and of the queue."""
    table = _table(f"What {url} says", "task")
    for column, status in COUNTERS.items():
        style = COLOURS.get(status, "red")
        table.add_column(column, justify="right", style=style, no_wrap=True)
    for column in ("wait p95", "duration p95"):
        table.add_column(column, justify="right", no_wrap=True)
    if mismatches is not None:
        table.add_column("ledger", no_wrap=True)
    for task, figures in page.tasks.items():
        row = [task, *(_number(figures.counts[column]) for column in COUNTED)]
        row += [_duration(figures.wait), _duration(figures.duration)]
        if mismatches is not None:
            row.append(_verdict(task, mismatches))
        table.add_row(*row)
    depth = (
        f"queue depth {_depth(page.queued)}, on the schedule {_depth(page.scheduled)}"
    )
    notes = [_note(depth)]
    if mismatches is not None:
        notes.append(_note("ledger: agrees when the page has counted what it says"))
    return Group(table, *notes)


def trace(spans: Sequence[Span]) -> RenderableType:
    """A trace as a tree, with what each span said at its end."""
    if not spans:
        return Text("\nNo span was received", style="red")
    table = _table(f"Trace {spans[0].trace_id}", "span")
    for column in ("after", "lasts"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("service", no_wrap=True)
    # It alone gives way where the terminal is narrow.
    table.add_column("")
    first = min(span.start for span in spans)
    for lines, span in branches(spans):
        operation, _, path = span.name.partition(" ")
        failed = span.status == "ERROR"
        table.add_row(
            Text(lines, style="dim").append(
                f"{operation} {path.rpartition('.')[2]}", style="red" if failed else ""
            ),
            _duration((span.start - first) / 1e9),
            _duration(span.seconds),
            str(span.resource.get("service.name", "")),
            Text(", ".join(_said(span)), no_wrap=True, overflow="ellipsis"),
        )
    return table


def _said(span: Span) -> Iterable[str]:
    said = span.attributes
    outcome = said.get("huey.task.outcome")
    if outcome is not None:
        yield f"attempt {said.get('huey.task.attempt')}: {outcome}"
    if span.status == "ERROR":
        yield span.message


def _rarely(seen: Counter[str]) -> Text:
    """Say what was seen of a task that has no column of its own."""
    parts = [
        Text(f"{seen[status]} {said}", style=COLOURS.get(status, "red"))
        for status, said in RARELY.items()
        if seen[status]
    ]
    return Text(", ").join(parts)


def _note(text: str) -> Text:
    return Text(text, style="dim")


def _table(title: str, first: str) -> Table:
    table = Table(
        title=f"\n{title}",
        title_style="bold",
        title_justify="left",
        header_style="bold underline",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column(first, no_wrap=True)
    return table


def _verdict(task: str, differences: Iterable[Difference | Mismatch]) -> str:
    return "differs" if any(each.task == task for each in differences) else "agrees"


def _number(count: int) -> str:
    return str(count or "")


def _depth(length: float | None) -> str:
    return "unknown" if length is None else f"{length:g}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
