"""The table of events: a line for each, in as many columns as the terminal has room."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from huey_otel import events as e
from huey_otel._safety.encodable import number
from huey_otel.cli.output import cell, columns, painted
from huey_otel.mapping import TABLE

_Values = Mapping[str, Any]
"""An event, in which another program may have put anything."""

_COLOURS: Final = {
    **{status: "magenta" for status, row in TABLE.items() if row.ends},
    **{status: "red" for status, row in TABLE.items() if row.error},
    e.EVENT_FINISHED: "green",
    e.EVENT_STARTED: "cyan",
    e.EVENT_RETRYING: "yellow",
}
"""Of statuses; the others only announce what will be."""


def colour_of(status: str) -> str:
    """The colour in which events of *status* are shown."""
    return _COLOURS.get(status, "blue")


_GAP: Final = "  "
_NARROWEST_TASK: Final = 16
_USUAL_TASK: Final = 30
_WIDEST_TASK: Final = 48


class _Column(NamedTuple):
    title: str
    text: Callable[[_Values], str]
    width: int
    right: bool = False
    path: bool = False


def _text(key: str) -> Callable[[_Values], str]:
    def text(event: _Values) -> str:
        value = event.get(key)
        return str(value) if isinstance(value, str | int | float) else ""

    return text


def _seconds(key: str) -> Callable[[_Values], str]:
    def seconds(event: _Values) -> str:
        value = number(event.get(key))
        return "" if value is None else f"{value:.3f}"

    return seconds


def _task(event: _Values) -> str:
    """The dotted path of the task; events of huey 1.x have a name alone."""
    return _text("name")(event) or _text("task")(event)


def _clock(event: _Values) -> str:
    """The local time of day, with milliseconds."""
    try:
        seconds = float(event["timestamp"])
        clock = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return ""
    return f"{clock}.{int(seconds % 1 * 1_000):03}"


_TIME: Final = _Column("time", _clock, 12)
_QUEUE: Final = _Column("queue", _text("queue"), 12)
_STATUS: Final = _Column("event", _text("status"), 20)
_TASK: Final = _Column("task", _task, _NARROWEST_TASK, path=True)
_TOOK: Final = _Column("took", _seconds("duration"), 8, right=True)
_WAITED: Final = _Column("waited", _seconds("wait"), 8, right=True)
_TRY: Final = _Column("try", _text("attempt"), 3, right=True)
_ID: Final = _Column("id", lambda event: _text("id")(event)[:8], 8)
_WORKER: Final = _Column("worker", _text("worker"), 10)
_TRACE: Final = _Column("trace", _text("trace_id"), 32)

_ORDER: Final = (
    *(_TIME, _QUEUE, _STATUS, _TASK, _TOOK, _WAITED, _TRY, _ID, _WORKER, _TRACE),
)
_BY_WORTH: Final = (
    *((one, _NARROWEST_TASK) for one in (_TIME, _QUEUE, _TOOK, _TRY, _ID)),
    *((one, _USUAL_TASK) for one in (_WAITED, _WORKER, _TRACE)),
)
"""Shown beside the event and its task, where that leaves so much to the task."""


class EventTable:
    """Lines of events; *with_queue* if these are of several."""

    def __init__(self, *, with_queue: bool) -> None:
        self._with_queue = with_queue
        self._shown: Sequence[_Column] = ()

    def lines_of(self, event: _Values) -> Iterator[str]:
        """The line of *event*, below a heading where the columns are new.

        An error has a second one, with its message.
        """
        width = columns()
        shown = self._columns_in(width)
        if [one.title for one in shown] != [one.title for one in self._shown]:
            titles = [cell(one.title, one.width, right=one.right) for one in shown]
            yield painted(_GAP.join(titles).rstrip(), "bold")
        self._shown = shown
        cells = (
            cell(one.text(event), one.width, right=one.right, path=one.path)
            for one in shown
        )
        colour = colour_of(event["status"])
        yield painted(_GAP.join(cells).rstrip(), colour)
        message = _message_of(event)
        if message:
            yield painted(cell(_GAP + message, width).rstrip(), colour)

    def _columns_in(self, width: int) -> list[_Column]:
        """The columns that *width* has room for, the task's as wide as it can be."""
        left = width - _STATUS.width - len(_GAP)
        if left < _NARROWEST_TASK:
            half = max(1, (width - len(_GAP)) // 2)
            return [_STATUS._replace(width=half), _TASK._replace(width=half)]
        chosen = {_STATUS, _TASK}
        for one, for_task in _BY_WORTH:
            if one is _QUEUE and not self._with_queue:
                continue
            if left < for_task + len(_GAP) + one.width:
                break
            left -= len(_GAP) + one.width
            chosen.add(one)
        task = _TASK._replace(width=min(left, _WIDEST_TASK))
        return [task if one is _TASK else one for one in _ORDER if one in chosen]


def _message_of(event: _Values) -> str:
    """The exception and its message, without the module; empty if there is none."""
    kind, trace = event.get("exception"), event.get("traceback")
    kind = kind if isinstance(kind, str) else ""
    name = kind.rpartition(".")[2]
    if not isinstance(trace, str):
        return name
    trace = trace.rstrip()
    # A message may have several lines.
    at = trace.rfind(f"\n{kind}:") if kind else -1
    if at < 0:
        return trace.rpartition("\n")[2]
    return name + trace[at + 1 + len(kind) :]
