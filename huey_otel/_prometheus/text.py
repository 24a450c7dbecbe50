"""Shown: a metric of ours as prometheus_client takes it, which also writes itself.

prometheus_client's encoder takes some 20 µs for a sample, and 1,000 tasks have 60,000.
The text is the same to the byte; `_encoding` makes sure of that before it is used.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from huey_otel._prometheus.catalog import Definition
from huey_otel._safety import encodable

if TYPE_CHECKING:
    from huey_otel._prometheus.series import Buckets, Labels, Trace

_SUFFIXES: Final = {"counter": "_total", "info": "_info"}
"""What prometheus_client adds to a name where its format has it there."""

_LABELS: Final = "\0"
"""Where the labels of a series go in the template of its lines."""

_PLAIN: Final = 1e6
"""From here on Prometheus writes numbers in another way than Python."""


class Shown(Metric):
    """A metric whose samples are made when somebody asks for them; here it has none."""

    def __init__(self, definition: Definition) -> None:
        suffix = _SUFFIXES.get(definition.kind, "")
        name = definition.name.removesuffix(suffix)
        super().__init__(name, definition.help, definition.kind)
        self._definition = definition
        del self.samples

    @cached_property
    def samples(self) -> list[Sample]:  # type: ignore[override]  # there an attribute
        return list(self._samples())

    @property
    def names(self) -> frozenset[str]:
        """The names of its samples."""
        return frozenset((self._definition.name,))

    def _restricted_metric(self, names: Iterable[str]) -> Metric | None:
        """Be asked by prometheus_client what is left for `name[]`."""
        wanted = self.names.intersection(names)
        if not wanted:
            return None
        if wanted == self.names:
            return self
        restricted = Metric(self.name, self.documentation, self.type)
        restricted.samples = [one for one in self.samples if one.name in wanted]
        return restricted

    def text(self, *, openmetrics: bool) -> str:
        """What a client's encoder writes, the end of the page excepted."""
        name, kind, _, text = self._definition
        text = text.replace("\\", r"\\").replace("\n", r"\n")
        if openmetrics:
            name, text = self.name, text.replace('"', r"\"")
        elif kind == "info":
            kind = "gauge"
        head = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
        return head + "".join(self._series(openmetrics=openmetrics))

    def _samples(self) -> Iterator[Sample]:
        return iter(())

    def _series(self, *, openmetrics: bool) -> Iterator[str]:
        return iter(())


class ShownNumbers(Shown):
    """A counter or gauge with its *values*, which change no more."""

    def __init__(
        self, definition: Definition, values: "Mapping[Labels, float]"
    ) -> None:
        super().__init__(definition)
        self._values = values

    def _samples(self) -> Iterator[Sample]:
        name, _, labelnames, _ = self._definition
        for labels, value in self._values.items():
            yield Sample(name, _labels(labelnames, labels), value)

    def _series(self, *, openmetrics: bool) -> Iterator[str]:
        name, _, labelnames, _ = self._definition
        for labels, value in self._values.items():
            yield f"{name}{{{_written(labelnames, labels)}}} {_number(value)}\n"


class ShownHistogram(Shown):
    """A histogram with its *values*, which change no more."""

    def __init__(
        self,
        definition: Definition,
        bounds: Sequence[float],
        values: "Mapping[Labels, Buckets]",
    ) -> None:
        super().__init__(definition)
        self._values = values
        self._bounds = [_number(bound) for bound in (*bounds, math.inf)]

    @property
    def names(self) -> frozenset[str]:
        """The names of its samples."""
        name = self._definition.name
        return frozenset(f"{name}{suffix}" for suffix in ("_bucket", "_count", "_sum"))

    def _samples(self) -> Iterator[Sample]:
        name, _, labelnames, _ = self._definition
        for values, buckets in self._values.items():
            labels = _labels(labelnames, values)
            count = 0
            for at, count in enumerate(accumulate(buckets.counts)):
                bound = {**labels, "le": self._bounds[at]}
                exemplar = _exemplar(buckets.exemplars.get(at))
                yield Sample(f"{name}_bucket", bound, count, None, exemplar)
            yield Sample(f"{name}_count", labels, count)
            yield Sample(f"{name}_sum", labels, buckets.seconds)

    def _series(self, *, openmetrics: bool) -> Iterator[str]:
        name, _, labelnames, _ = self._definition
        lines = [f'{name}_bucket{{le="{le}",{_LABELS}}} %s\n' for le in self._bounds]
        lines += [f"{name}_{end}{{{_LABELS}}} %s\n" for end in ("count", "sum")]
        template = "".join(lines)
        for labels, buckets in self._values.items():
            counts = _counts(list(accumulate(buckets.counts)))
            numbers = [*counts, counts[-1], _number(buckets.seconds)]
            if openmetrics:
                for at, trace in buckets.exemplars.items():
                    numbers[at] += _trace(trace)
            text = template % tuple(numbers)
            yield text.replace(_LABELS, _written(labelnames, labels))


def _labels(names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, map(encodable.text, values), strict=True))


def _written(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = sorted(zip(names, values, strict=True))
    return ",".join([f'{name}="{_escaped(value)}"' for name, value in pairs])


@lru_cache(maxsize=4_096)
def _escaped(value: str) -> str:
    value = encodable.text(value)
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if -_PLAIN < value < _PLAIN:
        return repr(float(value))
    written: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # no types
    return written


def _counts(increasing: list[int]) -> list[str]:
    if increasing[-1] < _PLAIN:
        return [f"{count}.0" for count in increasing]
    return [_number(count) for count in increasing]


def _exemplar(trace: "Trace | None") -> Exemplar | None:
    if trace is None:
        return None
    labels = {"trace_id": trace.trace_id, "span_id": trace.span_id}
    return Exemplar(labels, trace.value, trace.timestamp)


def _trace(trace: "Trace") -> str:
    labels = f'span_id="{trace.span_id}",trace_id="{trace.trace_id}"'
    return f" # {{{labels}}} {_number(trace.value)} {trace.timestamp}"
