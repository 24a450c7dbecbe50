"""The screen: a snapshot as lines of a terminal, as many and as wide as it has."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from huey_otel._safety.encodable import printable
from huey_otel.cli.limits import OVERDUE
from huey_otel.cli.output import cell, painted, width, wrapped
from huey_otel.cli.top.durations import UNKNOWN, age
from huey_otel.cli.top.snapshot import Backlog, Failure, Fleet, Snapshot
from huey_otel.cli.top.tables import (
    GAP,
    Table,
    errors,
    failing,
    failures_in,
    no_failure,
    periodic,
    rates,
    running,
)
from huey_otel.cli.top.view import Shown, View

NO_KEYS: Final = "no key has this name: is it idle, or called otherwise?"
NO_PAGES: Final = "no consumer leaves its metrics: HUEY_OTEL_PUBLISH_METRICS=on"

_NARROWEST: Final = 20
_NARROWEST_HALF: Final = 32
_HEADS: Final = 3
_LEAST_WITH_RULES: Final = 12
_LEAST_WITH_FOOT: Final = 8
"""Lines of a terminal that has room for more than the most important."""

_NO_KEYS: Final = "Ctrl-C quit"
_KEYS: Final = "q quit  / filter  e errors  t traceback"
_KEYS_OF_ERRORS: Final = "q back  / filter  j k choose  t traceback"
_HEAD_OF_TRACEBACK: Final = 2
_KEYS_OF_TRACEBACK: Final = "q back  j k scroll"


def lines_of(shown: Snapshot, view: View, columns: int, lines: int) -> list[str]:
    """*shown* as *view* has it, in *lines* lines of *columns* columns at most."""
    columns = max(columns, _NARROWEST)
    room = _room(view, lines)
    body, keys = _BODIES[view.shown]
    middle = body(shown, view, columns, room)[:room] if room else []
    rule = [_rule(columns)] if lines >= _LEAST_WITH_RULES else []
    above = [*_heads(shown, view, columns), *rule]
    below = [*rule, _foot(shown, view, keys, columns)] if _has_foot(view, lines) else []
    framed = [*above[: lines - len(below)], *middle, *[""] * (room - len(middle))]
    return [*framed, *below]


def _room(view: View, lines: int) -> int:
    """How many of *lines* are left between what stands above and below."""
    rules = 2 if lines >= _LEAST_WITH_RULES else 0
    return max(0, lines - _HEADS - rules - _has_foot(view, lines))


def _has_foot(view: View, lines: int) -> bool:
    # What is typed is to be seen.
    return lines >= _LEAST_WITH_FOOT or view.typing


def most_scrolled(shown: Snapshot, view: View, columns: int, lines: int) -> int:
    """How many lines of the traceback can be scrolled on such a terminal."""
    one = _failure(shown, view)
    if one is None or view.shown is not Shown.TRACEBACK:
        return 0
    room = _room(view, lines) - _HEAD_OF_TRACEBACK
    return max(0, len(_lines_of_traceback(one, max(columns, _NARROWEST))) - room)


def connecting(queue: str, server: str, columns: int, lines: int) -> list[str]:
    """The frame before anything is known."""
    nothing_yet = Snapshot(queue=queue, server=server, at=time.time())
    return lines_of(nothing_yet, View(), columns, lines)


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _rule(columns: int) -> str:
    return painted("─" * columns, "dim")


def _heads(shown: Snapshot, view: View, columns: int) -> Iterator[str]:
    clock = time.strftime("%H:%M:%S", time.localtime(shown.at))
    marks = [
        _mark("events", on=shown.failing is not None and not shown.unknown.events),
        _mark("pages", on=shown.fleet is not None),
    ]
    tail = GAP.join([clock, *marks])
    room = columns - len(tail) - len(GAP)
    name = f"{shown.queue}{GAP}{shown.server}"
    if view.queues > 1:
        name = f"{name}{GAP}({view.queue + 1} of {view.queues}, Tab)"
    if room >= 12:
        yield painted(cell(name, room), "bold") + GAP + tail
    else:
        yield painted(cell(name, columns), "bold")
    if shown.away is not None:
        yield painted(cell(f"NO ANSWER: {shown.away}", columns), "red")
    elif shown.backlog is None:
        yield painted(cell("connecting", columns), "dim")
    elif shown.unknown.backlog:
        yield painted(cell(f"NOT KNOWN: {shown.unknown.backlog}", columns), "red")
    else:
        pieces = [*_backlog(shown.backlog)]
        if shown.has_nothing:
            pieces.append((NO_KEYS, "yellow"))
        yield _flowing(pieces, columns)
    unknown = shown.unknown.pages
    if shown.fleet is not None:
        pieces = [*_fleet(shown.fleet), *([(unknown, "yellow")] if unknown else [])]
        yield _flowing(pieces, columns)
    elif unknown:
        yield painted(cell(f"NOT KNOWN: {unknown}", columns), "red")
    else:
        yield painted(cell("" if shown.backlog is None else NO_PAGES, columns), "dim")


def _mark(what: str, *, on: bool) -> str:
    return f"{'●' if on else '○'} {what}"


_Piece = tuple[str, str]
"""A text and its colour, which may be empty."""


def _backlog(backlog: Backlog) -> Iterator[_Piece]:
    oldest = "" if backlog.oldest is None else f"{GAP}oldest {age(backlog.oldest)}"
    if backlog.grows:
        oldest += " ↑"
    yield f"waiting {_number(backlog.waiting)}{oldest}", "yellow" * backlog.grows
    if backlog.overdue is not None and backlog.overdue >= OVERDUE:
        yield f"OVERDUE {age(backlog.overdue)}", "red"
    yield f"scheduled {_number(backlog.scheduled)}", ""
    if backlog.results is not None:
        yield f"results {_number(backlog.results)}", ""


def _fleet(fleet: Fleet) -> Iterator[_Piece]:
    yield f"consumers {fleet.consumers}", "" if fleet.consumers else "red"
    full = fleet.workers and fleet.busy >= fleet.workers
    yield f"workers {fleet.busy}/{fleet.workers} busy", "yellow" if full else ""
    for consumer, reason in fleet.stuck[:1]:
        yield f"{consumer} STUCK in {reason}{_and(fleet.stuck)}", "red"
    for consumer, seconds in fleet.silent[:1]:
        yield f"{consumer} silent {age(seconds)}{_and(fleet.silent)}", "yellow"


def _and(all_of_them: Sequence[object]) -> str:
    return f" and {len(all_of_them) - 1:,} more" if all_of_them[1:] else ""


def _flowing(pieces: Iterable[_Piece], columns: int) -> str:
    """*pieces* beside each other, as many as there is room for."""
    line, left = "", columns
    for text, colour in pieces:
        gap = GAP + " " if line else ""
        shown = cell(text, max(0, left - len(gap))).rstrip() if left > 8 else ""
        if not shown:
            break
        left -= len(gap) + width(shown)
        line += gap + (painted(shown, colour) if colour else shown)
    return line


def _overview(shown: Snapshot, view: View, columns: int, height: int) -> list[str]:
    half = (columns - len(GAP)) // 2
    one, two, three, four = (
        table(shown, view) for table in (running, failing, rates, periodic)
    )
    if half < _NARROWEST_HALF:
        return _below_each_other([one, two, three, four], columns, height)
    widths = half, columns - len(GAP) - half
    # A rule stands between what is wrong and what is usual.
    rule = height >= _LEAST_WITH_RULES - _HEADS - 3
    upper = max(2, (height - rule) * 2 // 5)
    if height - rule - upper < 2:
        return _beside(one, two, widths, height)
    return [
        *_beside(one, two, widths, upper),
        *([_rule(columns)] if rule else []),
        *_beside(three, four, widths, height - rule - upper),
    ]


def _beside(
    left: Table, right: Table, widths: tuple[int, int], height: int
) -> list[str]:
    return [
        one + GAP + two
        for one, two in zip(
            left.lines(widths[0], height), right.lines(widths[1], height), strict=True
        )
    ]


def _below_each_other(tables: Sequence[Table], columns: int, height: int) -> list[str]:
    """As many of *tables* as have room for a row; those that have none come last."""
    ordered = sorted(tables, key=lambda one: not one.rows)
    kept = ordered[: max(1, min(len(tables), height // 2))]
    # What is usual has more rows.
    weights = [3 if one in tables[2:] else 2 for one in kept]
    heights = [max(2, height * weight // sum(weights)) for weight in weights]
    heights[-1] = max(1, height - sum(heights[:-1]))
    return [
        line
        for one in tables
        if one in kept
        for line in one.lines(columns, heights[kept.index(one)])
    ]


def _errors(shown: Snapshot, view: View, columns: int, height: int) -> list[str]:
    return errors(shown, view, height).lines(columns, height)


def _traceback(shown: Snapshot, view: View, columns: int, height: int) -> list[str]:
    one = _failure(shown, view)
    if one is None:
        return [painted(cell(no_failure(shown, view), columns), "dim")]
    when = time.strftime("%H:%M:%S", time.localtime(one.at))
    head = f"{one.task}{GAP}{one.id}{GAP}{when}{GAP}{one.worker}"
    raised = f"{one.exception}: {one.message}" if one.message else one.exception
    lines = _lines_of_traceback(one, columns)
    room = max(0, height - _HEAD_OF_TRACEBACK)
    first = min(view.scrolled, max(0, len(lines) - room))
    return [
        painted(cell(head, columns), "bold"),
        painted(cell(raised, columns), "red"),
        *lines[first : first + room],
    ]


def _failure(shown: Snapshot, view: View) -> Failure | None:
    """The failure whose traceback is shown."""
    failures = failures_in(shown, view)
    return view.chosen or (failures[0] if failures else None)


def _lines_of_traceback(one: Failure, columns: int) -> list[str]:
    """All of it: a line that is too long goes on in the next one."""
    lines = (one.traceback or "no traceback").splitlines()
    return [part for line in lines for part in wrapped(line, columns)]


def _foot(shown: Snapshot, view: View, keys: str, columns: int) -> str:
    if view.typing:
        return cell(f"/{view.filter}", columns)
    keys = keys if view.keys else _NO_KEYS
    said = f"filter /{view.filter}{GAP}" if view.filter else ""
    if shown.unknown.events:
        said += f"EVENTS NOT KNOWN: {shown.unknown.events}"
    elif shown.failing is not None:
        trimmed = UNKNOWN if shown.trimmed is None else f"{shown.trimmed:,}"
        said += f"missed {shown.missed:,}{GAP}trimmed {trimmed}"
    colour = "red" if shown.unknown.events else "dim"
    room = columns - width(printable(said)) - len(GAP)
    if room < 10:
        return painted(cell(said or keys, columns), colour)
    return painted(cell(keys, room), "dim") + GAP + painted(printable(said), colour)


_BODIES: Final = {
    Shown.OVERVIEW: (_overview, _KEYS),
    Shown.ERRORS: (_errors, _KEYS_OF_ERRORS),
    Shown.TRACEBACK: (_traceback, _KEYS_OF_TRACEBACK),
}
