"""Series: the numbers of one metric under all its labels. Not thread-safe.

Each has `update`, which takes a change in, and `collect`, a copy that may be shown.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from prometheus_client.samples import Exemplar

from huey_otel._prometheus.catalog import Definition, Labels
from huey_otel._prometheus.exposition import Buckets, HistogramFamily, NumberFamily
from huey_otel._wire.record import Record, Source, TaskFacts

_TRACE_ID: Final = TaskFacts._fields.index("trace_id")
_SPAN_ID: Final = TaskFacts._fields.index("span_id")


class Change(NamedTuple):
    """What *number* records of one kind, of which *record* is one, come to.

    They report *reported* and take *seconds* together; *values* says how often there
    was each.
    """

    record: Record
    source: Source
    number: int
    reported: int
    seconds: float
    values: Sequence[tuple[float, int]]


class Counter:
    """A counter of what records report."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition
        self._values: dict[Labels, float] = {}

    def update(self, labels: Labels, change: Change) -> None:
        """Count what was reported."""
        self._values[labels] = self._values.get(labels, 0) + change.reported

    def add(self, labels: Labels, number: float = 1) -> None:
        """Count *number* more."""
        self._values[labels] = self._values.get(labels, 0) + number

    def collect(self) -> NumberFamily:
        """The numbers as they are now."""
        return NumberFamily(self._definition, self._values.copy())


class RecordCounter(Counter):
    """A counter of records, one of which may report several errors."""

    def update(self, labels: Labels, change: Change) -> None:
        """Count the records."""
        self._values[labels] = self._values.get(labels, 0) + change.number


class LatestTime(Counter):
    """A gauge of when something last happened."""

    def update(self, labels: Labels, change: Change) -> None:
        """Never go back: records of several workers come in any order."""
        if change.record.timestamp > self._values.get(labels, 0.0):
            self._values[labels] = change.record.timestamp


class Histogram:
    """A histogram with a bucket up to each of *bounds*."""

    def __init__(self, definition: Definition, bounds: Sequence[float]) -> None:
        self._definition = definition
        self._bounds = bounds
        self._values: dict[Labels, Buckets] = {}
        self._copies: dict[Labels, Buckets] = {}

    def update(self, labels: Labels, change: Change) -> None:
        """Observe the seconds."""
        if not change.values:
            return
        buckets = self._values.get(labels)
        if buckets is None:
            buckets = self._values[labels] = Buckets([0] * (len(self._bounds) + 1))
        self._copies.pop(labels, None)
        buckets.seconds += change.seconds
        exemplar = _exemplar(change)
        for value, times in change.values:
            bucket = bisect_left(self._bounds, value)
            buckets.counts[bucket] += times
            if exemplar is not None:
                buckets.exemplars[bucket] = exemplar

    def collect(self) -> HistogramFamily:
        """The numbers as they are now; most have not changed since the last scrape."""
        for labels, buckets in self._values.items():
            if labels not in self._copies:
                copy = self._copies[labels] = Buckets(buckets.counts.copy())
                copy.seconds = buckets.seconds
                copy.exemplars = buckets.exemplars.copy()
        return HistogramFamily(self._definition, self._bounds, self._copies.copy())


def _exemplar(change: Change) -> Exemplar | None:
    """The trace of the record, if its span is sampled."""
    facts = change.record.facts
    if facts is None or not facts[_TRACE_ID] or not facts[_SPAN_ID]:
        return None
    labels = {"trace_id": facts[_TRACE_ID], "span_id": facts[_SPAN_ID]}
    return Exemplar(labels, change.seconds, change.record.timestamp)
