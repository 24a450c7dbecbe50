"""Families: the numbers of one metric under all its labels, and how they are shown."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

from huey_otel._prometheus.catalog import CATALOG

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

Labels = tuple[str, ...]
"""Values of the labels, in the order of the catalog."""


class Numbers:
    """A counter or gauge. Not thread-safe; `copy` is what may be rendered."""

    def __init__(self, name: str) -> None:
        self._definition = CATALOG[name]
        self.values: dict[Labels, float] = {}

    def add(self, labels: Labels, number: float = 1) -> None:
        """Count *number* more."""
        self.values[labels] = self.values.get(labels, 0) + number

    def show(self, labels: Labels, value: float = 0) -> None:
        """Make it *value* where there is none yet."""
        self.values.setdefault(labels, value)

    def above_zero(self) -> list[Labels]:
        """The labels under which anything has been counted."""
        return [labels for labels, value in self.values.items() if value > 0]

    def copy(self) -> Self:
        """The numbers as they are now."""
        twin = type(self)(self._definition.name)
        twin.values = self.values.copy()
        return twin

    def rendered(self) -> "Metric":
        """What prometheus_client makes a page of; to be called on a copy."""
        from huey_otel._prometheus.text import ShownNumbers

        return ShownNumbers(self._definition, self.values)


class Trace(NamedTuple):
    """The trace behind an observation."""

    trace_id: str
    span_id: str
    value: float
    timestamp: float


class Buckets:
    """The observations under one set of labels; `counts` are not cumulative."""

    __slots__ = ("_copied", "counts", "exemplars", "seconds")

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts
        self.seconds = 0.0
        self.exemplars: dict[int, Trace] = {}
        self._copied: Buckets | None = None

    def changes(self) -> None:
        """To be called before they change: the last copy is one no more."""
        self._copied = None

    def copy(self) -> "Buckets":
        """What they are now; most have not changed since the last scrape."""
        copied = self._copied
        if copied is None:
            copied = self._copied = Buckets(self.counts.copy())
            copied.seconds = self.seconds
            copied.exemplars = self.exemplars.copy()
        return copied


class Histogram:
    """A histogram. Not thread-safe; `copy` is what may be rendered."""

    def __init__(self, name: str, bounds: Sequence[float]) -> None:
        self._definition = CATALOG[name]
        self._bounds = bounds
        self.values: dict[Labels, Buckets] = {}

    def observe(
        self,
        labels: Labels,
        seconds: float,
        values: Iterable[tuple[float, int]],
        exemplar: Trace | None = None,
    ) -> None:
        """Take *values* in, each so often, which come to *seconds* together."""
        buckets = self.values.get(labels)
        if buckets is None:
            buckets = self.values[labels] = Buckets([0] * (len(self._bounds) + 1))
        buckets.changes()
        buckets.seconds += seconds
        for value, times in values:
            bucket = bisect_left(self._bounds, value)
            buckets.counts[bucket] += times
            if exemplar is not None:
                buckets.exemplars[bucket] = exemplar

    def copy(self) -> Self:
        """The numbers as they are now."""
        twin = type(self)(self._definition.name, self._bounds)
        twin.values = {labels: each.copy() for labels, each in self.values.items()}
        return twin

    def rendered(self) -> "Metric":
        """What prometheus_client makes a page of; to be called on a copy."""
        from huey_otel._prometheus.text import ShownHistogram

        return ShownHistogram(self._definition, self._bounds, self.values)


def shown(name: str, values: Mapping[Labels, float]) -> "Metric":
    """A metric whose *values* are known from elsewhere, and change no more."""
    from huey_otel._prometheus.text import ShownNumbers

    return ShownNumbers(CATALOG[name], values)
