"""The merged page: the series of several consumers' pages, each told by its consumer.

What pages say is not trusted: a series is shown if its name and its labels are those
of a metric that this version knows, and its value is a number. Nothing is added up.
"""

import re
from array import array
from collections.abc import Iterable
from typing import Final, NamedTuple

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG, OF_STORAGE, Definition
from huey_otel._prometheus.exposition import EOF, Family, escaped, head_of
from huey_otel._prometheus.own_page import LASTING

_MOST_KNOWN: Final = 100_000
_LONGEST_KNOWN: Final = 512
_LONGEST_SERIES: Final = 16_384
_LONGEST_NUMBER: Final = 32
_MARK: Final = " # {"
"""Begins an exemplar."""

_NUMBER: Final = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_COUNT: Final = re.compile(_NUMBER)
_ANY_NUMBER: Final = re.compile(rf"-?{_NUMBER}|[+-]Inf|NaN")
_SERIES: Final = re.compile(
    r'([a-z_]+)\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"(?:,(?!\})|(?=\})))+)\}'
)
LABEL: Final = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\[\\"n])*)"')
"""A label's name and its value, which is escaped."""

_EXEMPLAR: Final = re.compile(
    r'span_id="[0-9a-f]{16}",trace_id="[0-9a-f]{32}"\}'
    rf" {_NUMBER} {_NUMBER}"
)


class _Sample(NamedTuple):
    """What a line of a page may be: a sample of a metric, with these labels.

    `place` is that of the metric in the catalog.
    """

    place: int
    definition: Definition
    labels: tuple[str, ...]


def _samples() -> dict[str, _Sample]:
    found = {}
    for place, definition in enumerate(CATALOG.values()):
        if definition.name in OF_STORAGE:
            continue
        labels = tuple(sorted(definition.labels))
        if definition.type != "histogram":
            found[definition.name] = _Sample(place, definition, labels)
            continue
        for end in ("count", "sum"):
            found[f"{definition.name}_{end}"] = _Sample(place, definition, labels)
        bucket = tuple(sorted((*labels, "le")))
        found[f"{definition.name}_bucket"] = _Sample(place, definition, bucket)
    return found


_SAMPLES: Final = _samples()


class _Known(NamedTuple):
    """A series that may be shown: its parts, and the place of its metric."""

    place: int
    lasts: bool
    name: str
    labels: str
    code: int


class KnownSeries:
    """Remembers what was checked: most series are on each page of each answer."""

    def __init__(self) -> None:
        self.known: dict[str, _Known] = {}
        self.counts: set[str] = set()

    def find(self, series: str) -> _Known | None:
        """What *series*, a name with its labels, is; None if it is not shown."""
        found = self.known.get(series)
        if found is None and len(series) <= _LONGEST_SERIES:
            found = _checked(series)
            if found is not None and len(series) <= _LONGEST_KNOWN:
                if len(self.known) >= _MOST_KNOWN:
                    self.known.clear()
                self.known[series] = found
        return found

    def is_number(self, text: str, *, lasts: bool) -> bool:
        """Whether *text* is a number that a metric may have that *lasts*, or not."""
        if len(text) > _LONGEST_NUMBER:
            return False
        if not lasts:
            return _ANY_NUMBER.fullmatch(text) is not None
        if _COUNT.fullmatch(text) is None:
            return False
        if len(self.counts) >= _MOST_KNOWN:
            self.counts.clear()
        self.counts.add(text)
        return True


def _checked(series: str) -> _Known | None:
    found = _SERIES.fullmatch(series)
    sample = _SAMPLES.get(found[1]) if found else None
    if found is None or sample is None:
        return None
    # In this order alone, so that no series can be there twice.
    if tuple(name for name, _ in LABEL.findall(found[2])) != sample.labels:
        return None
    place, lasts = sample.place, sample.definition.type in LASTING
    return _Known(place, lasts, found[1], found[2], hash(series))


def parts_of(line: str) -> tuple[str, str, str] | None:
    """The series of *line*, its number, and its exemplar, if it has these parts.

    A label's value may look like the begin of an exemplar.
    """
    labeled = _SERIES.match(line, 0, _LONGEST_SERIES)
    if labeled is None or line[labeled.end() : labeled.end() + 1] != " ":
        return None
    number, _, exemplar = line[labeled.end() + 1 :].partition(_MARK)
    return labeled[0], number, exemplar


class MergedPage:
    """Takes pages, and says them as one in text or in *openmetrics*."""

    def __init__(self, known: KnownSeries, *, openmetrics: bool) -> None:
        self._known = known
        self._openmetrics = openmetrics
        # The lines of each metric, in one piece for each page: fewer objects.
        self._parts: list[list[bytes]] = [[] for _ in CATALOG]
        self._seen: dict[str, array[int]] = {}

    def add(self, consumer: str, text: str, *, gauges: bool) -> int:
        """Show the series in *text*, gauges only with *gauges*; how many are skipped.

        A series that is there already is skipped as well.
        """
        label = f'{{{n.CONSUMER_LABEL}="{escaped(consumer)}",'
        seen = set(self._seen.get(consumer, ()))
        lines: list[list[str]] = [[] for _ in CATALOG]
        known, counts = self._known.known, self._known.counts
        skipped = 0
        for line in text.split("\n"):
            # A large fleet has a million of them.
            series, _, number = line.rpartition(" ")
            found, tail = known.get(series), ""
            if found is None:
                if not line or line[0] == "#":
                    continue
                found, number, tail = self._looked_at(line)
                if found is None:
                    skipped += 1
                    continue
            place, lasts, name, labels, code = found
            if code in seen or not (
                (lasts and number in counts)
                or self._known.is_number(number, lasts=lasts)
            ):
                skipped += 1
                continue
            seen.add(code)
            if gauges or lasts:
                lines[place].append(f"{name}{label}{labels}}} {number}{tail}\n")
        for parts, own in zip(self._parts, lines, strict=True):
            if own:
                parts.append("".join(own).encode())
        self._seen[consumer] = array("q", seen)
        return skipped

    def _looked_at(self, line: str) -> tuple[_Known | None, str, str]:
        """The series of *line*, its number, and the exemplar as it is shown."""
        body, _, exemplar = line.partition(_MARK)
        series, _, number = body.rpartition(" ")
        if series not in self._known.known:
            # Most with an exemplar are known.
            parts = parts_of(line)
            if parts is None:
                return None, "", ""
            series, number, exemplar = parts
        found = self._known.find(series)
        if not (
            self._openmetrics
            and found is not None
            and found.name.endswith("_bucket")
            and _EXEMPLAR.fullmatch(exemplar)
        ):
            return found, number, ""
        return found, number, _MARK + exemplar

    def text(self, own: Iterable[Family]) -> bytes:
        """The whole page, with *own* families behind those of the pages."""
        openmetrics = self._openmetrics
        whole = []
        for definition, parts in zip(CATALOG.values(), self._parts, strict=True):
            if parts:
                head = head_of(definition, openmetrics=openmetrics)
                whole += [head.encode(), *parts]
        for family in own:
            if family.shows_anything:
                whole.append(family.text(openmetrics=openmetrics).encode())
        if openmetrics:
            whole.append(EOF.encode())
        return b"".join(whole)
