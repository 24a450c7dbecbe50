"""The exposition: our metrics as a page of text, by a writer of our own.

prometheus_client's encoder takes some 20 µs for a sample, and 1,000 tasks have 60,000.
Before it is used, each page checks on sample metrics that it writes the same bytes.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, groupby
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Self

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG, Definition, Labels
from huey_otel._prometheus.claims import is_free, names_of
from huey_otel._safety import encodable

Encode = Callable[[Any], bytes]

_SUFFIXES: Final = {"counter": "_total", "info": "_info"}
"""What prometheus_client adds to a name where its format has it there."""

_LABELS: Final = "\0"
"""Where the labels of a series go in the template of its lines."""

_PLAIN: Final = 1e6
"""From here on Prometheus writes numbers in another way than Python."""

EOF: Final = "# EOF\n"
"""The end of a page in OpenMetrics."""

_ENQUEUED: Final = CATALOG[n.TASKS_ENQUEUED_TOTAL]


def head_of(definition: Definition, *, openmetrics: bool) -> str:
    """The HELP and TYPE of a metric of ours, as prometheus_client writes them."""
    name, kind, text = definition.name, definition.type, definition.help
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        name = name.removesuffix(_SUFFIXES.get(kind, ""))
        text = text.replace('"', r"\"")
    elif kind == "info":
        kind = "gauge"
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


class Family(Metric):
    """A metric of ours; its samples are made only if prometheus_client reads them."""

    def __init__(self, definition: Definition) -> None:
        suffix = _SUFFIXES.get(definition.type, "")
        name = definition.name.removesuffix(suffix)
        super().__init__(name, definition.help, definition.type)
        self.definition = definition
        self.values: dict[Labels, Any] = {}
        del self.samples

    @cached_property
    def samples(self) -> list[Sample]:  # type: ignore[override]  # there an attribute
        return list(self._samples())

    def _restricted_metric(self, names: Iterable[str]) -> Metric | None:
        # prometheus_client calls it for `name[]`.
        if self.type != "histogram":
            return self if self.definition.name in names else None
        if set(names).isdisjoint(names_of(self)):
            return None
        restricted: Metric | None = super()._restricted_metric(names)  # type: ignore[no-untyped-call]  # no types
        return restricted

    def text(self, *, openmetrics: bool) -> str:
        """What prometheus_client's encoder writes, without the end of the page."""
        head = head_of(self.definition, openmetrics=openmetrics)
        return head + "".join(self._series(openmetrics=openmetrics))

    def of_queues(self, belongs: Callable[[str], bool]) -> Self:
        """The same with only the series of queues that *belongs* says yes to."""
        own = copy.copy(self)
        own.values = {
            labels: value for labels, value in self.values.items() if belongs(labels[0])
        }
        return own

    @property
    def shows_anything(self) -> bool:
        """Whether it has any series."""
        return bool(self.values)

    def _samples(self) -> Iterator[Sample]:
        raise NotImplementedError

    def _series(self, *, openmetrics: bool) -> Iterator[str]:
        raise NotImplementedError


class NumberFamily(Family):
    """A counter, gauge or info."""

    def __init__(self, definition: Definition, values: dict[Labels, float]) -> None:
        super().__init__(definition)
        self.values: dict[Labels, float] = values

    def _samples(self) -> Iterator[Sample]:
        name, labelnames, *_ = self.definition
        for labels, value in self.values.items():
            yield Sample(name, _labels(labelnames, labels), value)

    def _series(self, *, openmetrics: bool) -> Iterator[str]:
        name, labelnames, *_ = self.definition
        for labels, value in self.values.items():
            written = f"{{{_written(labelnames, labels)}}}" if labels else ""
            yield f"{name}{written} {_number(value)}\n"


class Buckets(NamedTuple):
    """One series of a histogram; `counts` are not cumulative.

    `exemplars` are trace id, span id, value and time, by bucket.
    """

    counts: list[int]
    seconds: float
    exemplars: dict[int, tuple[int, int, float, float]]


class HistogramFamily(Family):
    """A histogram, whose buckets end at *bounds* and at infinity."""

    def __init__(
        self,
        definition: Definition,
        bounds: Sequence[float],
        values: dict[Labels, Buckets],
    ) -> None:
        super().__init__(definition)
        self.values: dict[Labels, Buckets] = values
        self._bounds = [_number(bound) for bound in (*bounds, math.inf)]

    def _samples(self) -> Iterator[Sample]:
        name, labelnames, *_ = self.definition
        for values, buckets in self.values.items():
            labels = _labels(labelnames, values)
            count = 0
            for at, count in enumerate(accumulate(buckets.counts)):
                bound = {**labels, "le": self._bounds[at]}
                found = buckets.exemplars.get(at)
                exemplar = None if found is None else _exemplar(*found)
                yield Sample(f"{name}_bucket", bound, count, None, exemplar)
            yield Sample(f"{name}_count", labels, count)
            yield Sample(f"{name}_sum", labels, buckets.seconds)

    def _series(self, *, openmetrics: bool) -> Iterator[str]:
        name, labelnames, *_ = self.definition
        lines = [f'{name}_bucket{{le="{le}",{_LABELS}}} %s\n' for le in self._bounds]
        lines += [f"{name}_{end}{{{_LABELS}}} %s\n" for end in ("count", "sum")]
        template = "".join(lines)
        for labels, buckets in self.values.items():
            counts = _counts(list(accumulate(buckets.counts)))
            numbers = [*counts, counts[-1], _number(buckets.seconds)]
            if openmetrics:
                for at, exemplar in buckets.exemplars.items():
                    numbers[at] += _written_exemplar(*exemplar)
            text = template % tuple(numbers)
            yield text.replace(_LABELS, _written(labelnames, labels))


def _labels(names: Iterable[str], values: Iterable[str]) -> dict[str, str]:
    return dict(zip(names, map(encodable.text, values), strict=True))


def _written(names: Sequence[str], values: Sequence[str]) -> str:
    pairs = sorted(zip(names, values, strict=True))
    return ",".join([f'{name}="{escaped(value)}"' for name, value in pairs])


@lru_cache(maxsize=4_096)
def escaped(value: str) -> str:
    """*value* as it stands in the quotes of a label."""
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


def _exemplar(trace: int, span: int, value: float, timestamp: float) -> Exemplar:
    ids = {"trace_id": f"{trace:032x}", "span_id": f"{span:016x}"}
    return Exemplar(ids, value, timestamp)


def _written_exemplar(trace: int, span: int, value: float, timestamp: float) -> str:
    labels = f'span_id="{span:016x}",trace_id="{trace:032x}"'
    return f" # {{{labels}}} {_number(value)} {timestamp}"


def expose(metrics: Sequence[Metric], accept: str) -> tuple[str, bytes]:
    """The page of *metrics* in a format that *accept* names, and its content type.

    Ours are left out where the application has a metric of their name.
    """
    encode, content_type, openmetrics = format_of(accept)
    metrics = _each_once(metrics)
    if not _writes_as_we_do(encode, openmetrics=openmetrics):
        return content_type, _encoded(metrics, encode)
    end = EOF.encode() if openmetrics else b""
    parts = [
        _of_ours(group, openmetrics=openmetrics)
        if ours
        else _encoded(list(group), encode).removesuffix(end)
        for ours, group in groupby(metrics, lambda one: isinstance(one, Family))
    ]
    return content_type, b"".join([*parts, end])


def format_of(accept: str) -> tuple[Encode, str, bool]:
    """The encoder and the content type that *accept* names; whether OpenMetrics."""
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:
        # It compares versions, and a client may name one that is no number.
        encode, content_type = choose_encoder("")
    return encode, content_type, "openmetrics" in content_type


def _of_ours(metrics: Iterable[Any], *, openmetrics: bool) -> bytes:
    return "".join([one.text(openmetrics=openmetrics) for one in metrics]).encode()


def _encoded(metrics: Sequence[Metric], encode: Encode) -> bytes:
    try:
        return encode(_collected(metrics))
    except UnicodeEncodeError:
        # One label of the application that is not UTF-8 must not cost the page.
        return encode(_collected([_encodable(one) for one in metrics]))


def _collected(metrics: Iterable[Metric]) -> Any:
    """What an encoder takes for a registry."""
    return SimpleNamespace(collect=lambda: metrics)


def _encodable(metric: Metric) -> Metric:
    encoded = copy.copy(metric)
    encoded.documentation = encodable.text(metric.documentation)
    encoded.samples = [
        one._replace(labels=_labels(one.labels, one.labels.values()))
        for one in metric.samples
    ]
    return encoded


def _each_once(metrics: Sequence[Metric]) -> list[Metric]:
    """*metrics* without those of ours whose name the application has."""
    ours = {one.name for one in metrics if isinstance(one, Family)}
    kept: list[Metric] = []
    for one in metrics:
        if isinstance(one, Family) or one.name not in ours:
            kept.append(one)
        else:
            kept += _not_counted_by_us(one)
    others = (one for one in kept if not isinstance(one, Family))
    taken = {name for one in others for name in names_of(one)}
    return [one for one in kept if not isinstance(one, Family) or is_free(one, taken)]


def _not_counted_by_us(metric: Metric) -> list[Metric]:
    """*metric*, which has a name of ours, without the samples that we show as well.

    A consumer goes on from what its process enqueued before it started, which is also
    in prometheus_client's files.
    """
    rest = [
        one
        for one in metric.samples
        if one.name != _ENQUEUED.name or set(one.labels) != set(_ENQUEUED.labels)
    ]
    others = copy.copy(metric)
    others.samples = rest
    return [others] if rest else []


def _writes_as_we_do(encode: Encode, *, openmetrics: bool) -> bool:
    """Whether *encode* writes a few metrics of each type exactly as we do.

    It does not where a client asks for escaped underscores, or in a later version.
    """
    odd = 'a\\b"c\nd'
    buckets = Buckets([1, 2_000_000], 0.1, {0: (1, 2, 1e-7, 2e9)})
    info = CATALOG[n.CONSUMER_INFO]
    probes = [
        NumberFamily(CATALOG[n.TASK_RETRIES_TOTAL], {("q", odd): 1e21, ("r", ""): 7}),
        NumberFamily(CATALOG[n.WORKERS], {("q", "thread"): 1e9 + 0.25}),
        NumberFamily(info, {("q",) * len(info.labels): 1}),
        HistogramFamily(CATALOG[n.TASK_WAIT_SECONDS], [1e7], {("q", odd): buckets}),
    ]
    end = EOF.encode() if openmetrics else b""
    return encode(_collected(probes)) == _of_ours(probes, openmetrics=openmetrics) + end
