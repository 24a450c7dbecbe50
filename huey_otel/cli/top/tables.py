"""The tables of the screen: what each one shows of a snapshot."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from huey_otel.cli.output import cell, painted
from huey_otel.cli.top.durations import age, took
from huey_otel.cli.top.snapshot import Failure, Snapshot
from huey_otel.cli.top.view import View

GAP: Final = "  "
_NARROWEST: Final = 8
"""Columns of a terminal for a column that shares."""

_DAY: Final = 86_400
_CHOSEN: Final = (" ", ">")
NO_STREAM: Final = "not known without HUEY_OTEL_STREAM=on"


class _Column(NamedTuple):
    """A column of a table; those of *width* 0 share what the others leave."""

    title: str
    width: int
    right: bool = False
    path: bool = False


_Row = tuple[Sequence[str], str]
"""The cells of a row, and its colour, which may be empty."""


class Table(NamedTuple):
    """A table."""

    columns: Sequence[_Column]
    rows: Sequence[_Row]
    empty: str
    """What to say where it has none."""

    def lines(self, width: int, height: int) -> list[str]:
        """It in exactly *height* lines of exactly *width* columns."""
        columns = _fitted(self.columns, width)
        titles = [one.title for one in columns]
        lines = [painted(_joined(columns, titles), "bold")]
        for cells, colour in self.rows[: height - 1]:
            text = _joined(columns, cells)
            lines.append(painted(text, colour) if colour else text)
        if not self.rows and height > 1:
            lines.append(painted(cell(self.empty, width), "dim"))
        return lines + [" " * width] * (height - len(lines))


def _joined(columns: Sequence[_Column], cells: Sequence[str]) -> str:
    return GAP.join(
        cell(text, one.width, right=one.right, path=one.path)
        for one, text in zip(columns, cells, strict=False)
    )


def _fitted(columns: Sequence[_Column], width: int) -> list[_Column]:
    """*columns* in exactly *width*, without the last ones if that is too little."""
    kept = list(columns)
    while True:
        taken = sum(one.width for one in kept) + len(GAP) * (len(kept) - 1)
        shares = sum(not one.width for one in kept)
        share, more = divmod(max(shares, width - taken), shares or 1)
        if len(kept) == 1 or (shares and share >= _NARROWEST):
            break
        kept.pop()
    fitted = []
    for one in kept:
        # What cannot be shared goes to the first.
        fitted.append(one if one.width else one._replace(width=share + more))
        more = 0 if not one.width else more
    return fitted


def matches(text: str, view: View) -> bool:
    """Whether the filter lets *text* through, which is a task's name."""
    return view.filter.lower() in text.lower()


def failures_in(shown: Snapshot, view: View) -> list[Failure]:
    """The failures that *view* lets through, newest first."""
    return [one for one in shown.failures if matches(one.task, view)]


def nothing(said: str, view: View) -> str:
    """What stands in a table without rows, which a filter may be the reason of."""
    return f"none with {view.filter!r}" if view.filter else said


def _class(path: str) -> str:
    """The name of an exception's class, without its module."""
    return path.rpartition(".")[2]


def running(shown: Snapshot, view: View) -> Table:
    """The attempts that run longest."""
    return Table(
        (
            _Column("RUNNING LONGEST", 0, path=True),
            _Column("consumer", 12),
            _Column("age", 5, right=True),
        ),
        [
            ((one.task, one.consumer, age(one.age)), "")
            for one in shown.running
            if matches(one.task, view)
        ],
        nothing("nothing runs", view) if shown.fleet is not None else "",
    )


def failing(shown: Snapshot, view: View) -> Table:
    """The tasks that failed in the last minutes."""
    return Table(
        (
            _Column("NOW FAILING", 0, path=True),
            _Column("5m", 4, right=True),
            _Column("last", 0),
            _Column("ago", 5, right=True),
        ),
        [
            (
                (one.task, f"{one.count:,}", _class(one.exception), age(one.ago)),
                "red",
            )
            for one in shown.failing or ()
            if matches(one.task, view)
        ],
        no_failure(shown, view),
    )


def no_failure(shown: Snapshot, view: View) -> str:
    """What stands where failures would."""
    if shown.backlog is None:
        return ""
    if shown.unknown.events:
        return "not known"
    return NO_STREAM if shown.failing is None else nothing("nothing fails", view)


def rates(shown: Snapshot, view: View) -> Table:
    """What became of each task lately."""
    over = "" if shown.window is not None else " so far"
    return Table(
        (
            _Column(f"task{over}", 0, path=True),
            _Column("done/m", 7, right=True),
            _Column("fail%", 5, right=True),
            _Column("p95", 6, right=True),
        ),
        [
            (
                (
                    one.task,
                    f"{one.done:,.0f}" if one.done >= 9.95 else f"{one.done:.1f}",
                    "" if one.failed is None else f"{one.failed * 100:.0f} %",
                    took(one.p95),
                ),
                "yellow" if one.failed else "",
            )
            for one in shown.rates
            if matches(one.task, view)
        ],
        nothing("no task has run", view) if shown.fleet is not None else "",
    )


def periodic(shown: Snapshot, view: View) -> Table:
    """The periodic tasks, and which of them is late."""

    def last(seconds: float | None) -> str:
        return "not seen" if seconds is None else f"{age(shown.at - seconds)} ago"

    def due(seconds: float | None, *, late: bool) -> str:
        if seconds is None:
            return "!" if late else ""
        ahead = seconds - shown.at
        form = "%H:%M" if abs(ahead) < _DAY else "%d %b"
        text = time.strftime(form, time.localtime(seconds))
        return f"{text} !" if late else text

    return Table(
        (
            _Column("periodic", 0, path=True),
            _Column("last ok", 9, right=True),
            _Column("due", 8),
        ),
        [
            (
                (one.task, last(one.succeeded), due(one.due, late=one.late)),
                "red" if one.late else "",
            )
            for one in shown.periodic
            if matches(one.task, view)
        ],
        nothing("no periodic task", view) if shown.fleet is not None else "",
    )


def errors(shown: Snapshot, view: View, height: int) -> Table:
    """The last failures one by one, in so many lines of which one is the chosen."""
    failures = failures_in(shown, view)
    chosen = view.place(failures)
    rows = [
        (
            (
                _CHOSEN[at == chosen]
                + time.strftime("%H:%M:%S", time.localtime(one.at)),
                one.task,
                _class(one.exception),
                one.message,
                one.worker,
            ),
            "bold" if at == chosen else "red",
        )
        for at, one in enumerate(failures)
    ]
    return Table(
        (
            _Column(" when", 9),
            _Column("LAST FAILURES", 20, path=True),
            _Column("exception", 18),
            _Column("message", 0),
            _Column("worker", 12),
        ),
        rows[max(0, chosen - max(0, height - 2)) :],
        no_failure(shown, view),
    )
