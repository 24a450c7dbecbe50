"""The tables of the screen: what each one shows of a snapshot."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from huey_otel._safety.encodable import printable
from huey_otel.cli.output import cell, painted, width
from huey_otel.cli.top.durations import age, took
from huey_otel.cli.top.snapshot import Failure, Snapshot
from huey_otel.cli.top.view import View

GAP: Final = "  "
_NARROWEST: Final = 8
"""Columns of a terminal for a column that shares."""

_PLENTY: Final = 40
"""Columns that one which shares keeps while others need some."""

_DAY: Final = 86_400
_CHOSEN: Final = (" ", ">")
NO_STREAM: Final = "not known without HUEY_OTEL_STREAM=on"


class _Column(NamedTuple):
    """A column of a table; those of *width* 0 share what the others leave.

    Of a *path* and of the address of a *consumer* the end is what tells it apart.
    """

    title: str
    width: int
    right: bool = False
    path: bool = False
    consumer: bool = False

    def cell(self, text: str) -> str:
        """*text* in its width."""
        if self.consumer and width(text) > self.width:
            host, colon, process = text.rpartition(":")
            if not host.replace(".", "").isdigit():
                text = host.partition(".")[0] + colon + process
        return cell(
            text, self.width, right=self.right, path=self.path, end=self.consumer
        )


_Row = tuple[Sequence[str], str]
"""The cells of a row, and its colour, which may be empty."""


class Table(NamedTuple):
    """A table."""

    columns: Sequence[_Column]
    rows: Sequence[_Row]
    empty: str
    """What to say where it has none."""

    def lines(self, columns: int, height: int) -> list[str]:
        """It in exactly *height* lines of so many *columns*.

        The title of the tasks says how many more rows there are.
        """
        rows = self.rows[: max(0, height - 1)]
        hidden = len(self.rows) - len(rows)
        more = f" +{hidden:,}" if hidden else ""
        titled = [
            one._replace(title=one.title + more) if one.path else one
            for one in self.columns
        ]
        fitted = _fitted(titled, rows, columns)
        titles = [cell(one.title, one.width, right=one.right) for one in fitted]
        lines = [painted(GAP.join(titles), "bold")]
        for cells, colour in rows:
            text = _joined(fitted, cells)
            lines.append(painted(text, colour) if colour else text)
        if not self.rows and height > 1:
            lines.append(painted(cell(self.empty, columns), "dim"))
        return lines[:height] + [" " * columns] * (height - len(lines))


def _joined(columns: Sequence[_Column], cells: Sequence[str]) -> str:
    return GAP.join(one.cell(text) for one, text in zip(columns, cells, strict=False))


def _fitted(
    columns: Sequence[_Column], rows: Sequence[_Row], room: int
) -> list[_Column]:
    """*columns* in exactly *room*, without the last ones if that is too little."""
    kept = list(columns)
    while True:
        taken = sum(one.width for one in kept) + len(GAP) * (len(kept) - 1)
        shares = sum(not one.width for one in kept)
        share, more = divmod(max(shares, room - taken), shares or 1)
        if len(kept) == 1 or (shares and share >= _NARROWEST):
            break
        kept.pop()
    widths = [one.width or share for one in kept]
    if shares:
        # What cannot be shared goes to the first.
        widths[[not one.width for one in kept].index(True)] += more
    else:
        widths[0] = room
    needs = [
        max(width(printable(text[: 2 * room])) for text in (one.title, *texts))
        for one, texts in zip(
            kept, zip(*(cells for cells, _ in rows), strict=True), strict=False
        )
    ]
    # Those that share have more than the others to begin with.
    keeps = [
        need if one.width else min(need, _PLENTY)
        for one, need in zip(kept, needs, strict=False)
    ]
    order = sorted(range(len(needs)), key=lambda at: kept[at].width > 0)
    for at in order:
        for other, keep in enumerate(keeps):
            spare = min(widths[other] - keep, needs[at] - widths[at])
            if other != at and spare > 0:
                widths[at] += spare
                widths[other] -= spare
    return [one._replace(width=wide) for one, wide in zip(kept, widths, strict=True)]


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
            _Column("consumer", 12, consumer=True),
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


def _number(done: float) -> str:
    """*done*, whole where it is counted, or many."""
    whole = done >= 9.95 or done == int(done)
    return f"{done:,.0f}" if whole else f"{max(0.1, done):.1f}"


def _percent(share: float | None) -> str:
    """*share*, in which a few are not none, and nearly all are not all."""
    if share is None:
        return ""
    if 0 < share < 0.01:
        return "<1 %"
    if 0.99 < share < 1:
        return ">99 %"
    return f"{share * 100:.0f} %"


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
                    _number(one.done),
                    _percent(one.failed),
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
            _Column("worker", 12, consumer=True),
        ),
        rows[max(0, chosen - max(0, height - 2)) :],
        no_failure(shown, view),
    )
