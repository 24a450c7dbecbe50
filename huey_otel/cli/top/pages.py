"""Pages of metrics that consumers have left in Redis, as `top` reads them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from huey_otel import _names as n
from huey_otel.cli.exporter.merged import LABEL, KnownSeries, parts_of
from huey_otel.cli.exporter.stored import ENDED, REPLACED, STALE, Stored

Samples = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
"""Labels and values, by the name of the sample."""

_NONE: Final[Sequence[tuple[Mapping[str, str], float]]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerPage:
    """What one consumer has left: its samples, and when that page was *made*.

    *made* is in Unix seconds by the server's clock, *silent* whether another one should
    have followed, *ended* whether it is the last one of an orderly end.
    """

    consumer: str
    made: float
    silent: bool
    ended: bool
    found: Samples
    behind: float = 0.0

    def samples(self, name: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """The samples called *name*."""
        return self.found.get(name, _NONE)

    def moments(self, name: str) -> Sequence[tuple[Mapping[str, str], float]]:
        """The samples called *name*, which are moments, by the server's clock."""
        return [(labels, at + self.behind) for labels, at in self.samples(name)]

    def total(self, name: str) -> float:
        """The sum of the samples called *name*."""
        return sum(value for _, value in self.samples(name))

    @property
    def lives(self) -> bool:
        """Whether what it says of now is true."""
        return not (self.silent or self.ended)

    @property
    def started(self) -> float | None:
        """When the consumer started, in Unix seconds; the last page does not tell."""
        times = [value for _, value in self.moments(n.CONSUMER_START_TIME)]
        return min(times, default=None)


_SHOWN: Final = frozenset(
    (
        *(n.TASKS_FINISHED_TOTAL, f"{n.TASK_DURATION_SECONDS}_bucket"),
        *(n.TASK_RUNNING_AGE, n.TASKS_IN_PROGRESS, n.TASK_LAST_SUCCESS),
        *(n.PERIODIC_INTERVAL, n.PERIODIC_NEXT_RUN, n.WORKERS, n.WORKERS_BUSY),
        *(n.CONSUMER_START_TIME, n.CONSUMER_STUCK),
    )
)
_ESCAPED: Final = re.compile(r"\\(.)")
_MOST_KNOWN: Final = 100_000

_LARGEST: Final = 1e15
"""No count, age or moment of ours is larger, or negative."""

_CLOSE: Final = 5.0
"""Seconds by which two clocks may differ, or a page be under way."""


class Pages:
    """Reads pages, each text once; what is not of ours in them is left out."""

    def __init__(self) -> None:
        self._series = KnownSeries()
        self._labels: dict[str, Mapping[str, str]] = {}
        self._read: dict[str, tuple[str, ConsumerPage]] = {}

    def read(self, stored: Sequence[Stored], now: float) -> list[ConsumerPage]:
        """The pages in *stored*, which were asked for at *now*."""
        before, self._read = self._read, {}
        found = []
        for one in stored:
            if one.state == REPLACED:
                continue
            text, page = before.get(one.name, ("", None))
            made = now - one.age
            if page is None or text != one.text:
                page = ConsumerPage(
                    consumer=one.name,
                    made=made,
                    silent=one.state == STALE,
                    ended=one.state == ENDED,
                    found=self._found(one.text),
                    behind=_behind(one.head.at, made),
                )
            # A page of one that is idle may be renewed and have the same text.
            page = replace(
                page,
                made=made,
                silent=one.state == STALE,
                ended=one.state == ENDED,
            )
            self._read[one.name] = one.text, page
            found.append(page)
        return found

    def _found(self, text: str) -> Samples:
        found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for line in text.split("\n"):
            name = line.partition("{")[0]
            if name not in _SHOWN:
                continue
            parts = parts_of(line)
            if parts is None:
                continue
            series, number, _ = parts
            known = self._series.find(series)
            if known is None or not self._series.is_number(number, lasts=known.lasts):
                continue
            value = float(number)
            if 0 <= value <= _LARGEST:
                found.setdefault(name, []).append(
                    (self._labels_of(known.labels), value)
                )
        return found

    def _labels_of(self, text: str) -> Mapping[str, str]:
        labels = self._labels.get(text)
        if labels is None:
            if len(self._labels) >= _MOST_KNOWN:
                self._labels.clear()
            labels = {name: _plain(value) for name, value in LABEL.findall(text)}
            self._labels[text] = labels
        return labels


def _behind(at: float | None, made: float) -> float:
    """How far a clock that said *at* is behind the one that said *made*.

    In whole seconds, so that a minute stays one.
    """
    if at is None or abs(made - at) <= _CLOSE:
        return 0.0
    return float(round(made - at))


def _plain(value: str) -> str:
    return _ESCAPED.sub(lambda one: "\n" if one[1] == "n" else one[1], value)
