"""What the demo prints: a line for each event, tables, and a trace as a tree."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from huey_otel import events as e
from huey_otel.cli.event_table import colour_of
from huey_otel.events import Event
from runtime.demo.metrics import (
    COUNTED,
    FAILED,
    FINISHED,
    RETRIED,
    STARTED,
    CountDifference,
    Page,
)
from runtime.demo.traces import branches
from runtime.load.ledger import Difference
from runtime.otlp_receiver import Span

FILE_WIDTH = 120
"""Columns where standard output is not a terminal."""

WIDEST_EVENT = 86
"""Columns of the longest event line, with two spaces between its cells."""

MIN_EVENTS = 4
MAX_EVENTS = 12
"""Lines of events in the live view, depending on the terminal's height."""

COLUMNS: Mapping[str, str] = {
    e.EVENT_STARTED: "started",
    e.EVENT_FINISHED: "finished",
    e.EVENT_ERROR_TASK: "failed",
    e.EVENT_RETRYING: "retried",
}
"""Statuses that have a column of their own in the listener's table."""

OTHERS: Mapping[str, str] = {
    e.EVENT_TIMEOUT: "timed out",
    e.EVENT_SCHEDULED: "scheduled",
    e.EVENT_LOCKED: "locked",
    e.EVENT_RATE_LIMITED: "limited",
    e.EVENT_REVOKED: "revoked",
    e.EVENT_EXPIRED: "expired",
    e.EVENT_CANCELED: "canceled",
}
"""Rarer statuses. They share one column, so that the table fits 80 columns."""

METRICS_COLUMNS: Mapping[str, str] = {
    STARTED: e.EVENT_STARTED,
    FINISHED: e.EVENT_FINISHED,
    FAILED: e.EVENT_ERROR_TASK,
    RETRIED: e.EVENT_RETRYING,
}
"""The counts on the metrics page, and the status that gives each its colour."""


def console() -> Console:
    """Give a console for standard output, be it a terminal or a file."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=FILE_WIDTH)


class Screen:
    """Prints everything below the last line of *console*."""

    live = False
    """Whether `refresh` shows anything while events are shown."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show events within the block."""
        yield

    def refresh(self, page: Page, url: str, spans: Sequence[Span]) -> None:
        """Show the metrics *page* of *url* and the trace *spans*, if `live`."""

    def message(self, text: str, style: str = "dim") -> None:
        """Print *text*."""
        self._console.print(text, style=style, markup=False, soft_wrap=True)

    def heading(self) -> None:
        """Print the heading of the events."""
        cells = ("time", "event", "task", "id", "try", "seconds", "worker")
        self._console.print(Text(_event_row(self._gap, *cells), style="bold"))

    def event(self, event: Event) -> None:
        """Count *event* and print it, with the last line of its traceback."""
        if event["task"] is not None:
            self._counts[event["task"]][event["status"]] += 1
        for line in _event_lines(event, self._gap):
            self._print_event_line(line)

    def summary(self, differences: Collection[Difference] | None = None) -> None:
        """Print the counted events; the ledger's column too if *differences* is given.

        Empty *differences* mean that all events are as the ledger expects.
        """
        self._console.print(_summary_table(self._counts, differences))
        for each in differences or ():
            self.message(str(each), "red")

    def metrics(
        self, page: Page, url: str, differences: Collection[CountDifference]
    ) -> None:
        """Print the metrics *page* of *url*, and where it differs from the ledger."""
        self._console.print(_metrics_table(page, url, differences))
        for each in differences:
            self.message(str(each), "red")

    def trace(self, spans: Sequence[Span]) -> None:
        """Print a trace as a tree."""
        self._console.print(_trace_table(spans))

    @property
    def _gap(self) -> str:
        """The space between two cells of an event, which has to fit one line."""
        return "  " if self._console.width > WIDEST_EVENT else " "

    def _print_event_line(self, line: Text) -> None:
        self._console.print(line)


class LiveScreen(Screen):
    """Shows metrics, last events and a trace in place, on a terminal *console*."""

    live = True

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last: deque[Text] = deque(maxlen=MAX_EVENTS)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Refresh in place within the block; later output is printed below."""
        with self._live:
            yield

    def heading(self) -> None:
        """Print nothing: each view has a heading of its own."""

    def refresh(self, page: Page, url: str, spans: Sequence[Span]) -> None:
        """Replace the view."""
        metrics = _metrics_table(page, url, None)
        trace = _trace_table(spans)
        room = self._console.height - self._height(metrics) - self._height(trace) - 3
        lines = list(self._last)[-min(max(room, MIN_EVENTS), MAX_EVENTS) :]
        heading = Text("\nThe last events", style="bold")
        self._live.update(Group(metrics, heading, *lines, trace), refresh=True)

    def _height(self, shown: RenderableType) -> int:
        return len(self._console.render_lines(shown))

    def _print_event_line(self, line: Text) -> None:
        line.no_wrap, line.overflow = True, "ellipsis"
        self._last.append(line)


def _event_lines(event: Event, gap: str) -> Iterator[Text]:
    seconds = event["timestamp"]
    clock = time.strftime("%H:%M:%S", time.localtime(seconds))
    duration = event.get("duration")
    row = _event_row(
        gap,
        f"{clock}.{int(seconds % 1 * 1000):03}",
        event["status"],
        event["task"] or "",
        (event["id"] or "")[:8],
        str(event["attempt"] or ""),
        "" if duration is None else f"{duration:.3f}",
        event["worker"] or "",
    )
    yield Text(row, style=colour_of(event["status"]))
    traceback = event.get("traceback")
    if traceback:
        last = traceback.rstrip().rpartition("\n")[2]
        text = f"{'':14}{last}"
        yield Text(text, style="red", overflow="ellipsis", no_wrap=True)


def _event_row(gap: str, *cells: str) -> str:
    clock, status, task, id_, attempt, seconds, worker = cells
    left = (f"{clock:12}", f"{status:19}", f"{task:16}", f"{id_:8}")
    return gap.join((*left, f"{attempt:>3}", f"{seconds:>7}", worker))


def _summary_table(
    counts: Mapping[str, Counter[str]], differences: Collection[Difference] | None
) -> RenderableType:
    """Count the events by task and status; add the ledger's column if it is known."""
    table = _table("What the listener saw", "task")
    for status, column in COLUMNS.items():
        style = colour_of(status)
        table.add_column(column, justify="right", style=style, no_wrap=True)
    table.add_column("and")
    if differences is not None:
        table.add_column("ledger", no_wrap=True)
    for task, seen in sorted(counts.items()):
        row = [task, *(_number(seen[status]) for status in COLUMNS)]
        cells: list[str | Text] = [*row, _other_counts(seen)]
        if differences is not None:
            cells.append(_ledger_cell(task, differences))
        table.add_row(*cells)
    if differences is None:
        return table
    note = "ledger: agrees when exactly the events that the load expects were seen"
    return Group(table, _note(note))


def _other_counts(seen: Counter[str]) -> Text:
    parts = [
        Text(f"{seen[status]} {name}", style=colour_of(status))
        for status, name in OTHERS.items()
        if seen[status]
    ]
    return Text(", ").join(parts)


def _metrics_table(
    page: Page, url: str, differences: Collection[CountDifference] | None
) -> RenderableType:
    """Show the *page* of *url*; add the ledger's column if *differences* is given."""
    table = _table(f"What {url} says", "task")
    for column, status in METRICS_COLUMNS.items():
        style = colour_of(status)
        table.add_column(column, justify="right", style=style, no_wrap=True)
    for column in ("wait p95", "duration p95"):
        table.add_column(column, justify="right", no_wrap=True)
    if differences is not None:
        table.add_column("ledger", no_wrap=True)
    for task, metrics in page.tasks.items():
        row = [task, *(_number(metrics.counts[column]) for column in COUNTED)]
        row += [_duration(metrics.wait), _duration(metrics.duration)]
        if differences is not None:
            row.append(_ledger_cell(task, differences))
        table.add_row(*row)
    queued, scheduled = _length(page.queued), _length(page.scheduled)
    notes = [_note(f"queue depth {queued}, on the schedule {scheduled}")]
    if differences is not None:
        notes.append(_note("ledger: agrees when the page counts what the load expects"))
    return Group(table, *notes)


def _trace_table(spans: Sequence[Span]) -> RenderableType:
    """Draw a trace as a tree, with the outcome or error of each span."""
    if not spans:
        return Text("\nNo span was received", style="red")
    table = _table(f"Trace {spans[0].trace_id}", "span")
    for column in ("after", "lasts"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("service", no_wrap=True)
    # Only this column shrinks on a narrow terminal.
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
            Text(", ".join(_span_result(span)), no_wrap=True, overflow="ellipsis"),
        )
    return table


def _span_result(span: Span) -> Iterator[str]:
    outcome = span.attributes.get("huey.task.outcome")
    if outcome is not None:
        yield f"attempt {span.attributes.get('huey.task.attempt')}: {outcome}"
    if span.status == "ERROR":
        yield span.message


def _note(text: str) -> Text:
    return Text(text, style="dim")


def _table(title: str, first_column: str) -> Table:
    table = Table(
        title=f"\n{title}",
        title_style="bold",
        title_justify="left",
        header_style="bold underline",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column(first_column, no_wrap=True)
    return table


def _ledger_cell(task: str, differences: Iterable[Difference | CountDifference]) -> str:
    return "differs" if any(each.task == task for each in differences) else "agrees"


def _number(count: int) -> str:
    return str(count or "")


def _length(length: float | None) -> str:
    return "unknown" if length is None else f"{length:g}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
