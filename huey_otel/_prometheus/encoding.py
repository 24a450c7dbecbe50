"""Encoding: a page as bytes, where our metrics write themselves if that is the same."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, Final

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG
from huey_otel._prometheus.series import Buckets, Trace
from huey_otel._prometheus.text import Shown, ShownHistogram, ShownNumbers
from huey_otel._prometheus.unclaimed import is_free, names_of
from huey_otel._safety import encodable

Encode = Callable[[Any], bytes]

_EOF: Final = b"# EOF\n"
_ENQUEUED: Final = CATALOG[n.TASKS_ENQUEUED_TOTAL]


class Encoding:
    """What *encode* of prometheus_client's makes of metrics, at less expense."""

    def __init__(self, encode: Encode, *, openmetrics: bool) -> None:
        self._encode = encode
        self._openmetrics = openmetrics

    def of(self, metrics: Sequence[Metric]) -> bytes:
        """The page of *metrics*, where no name is there twice."""
        metrics = _each_once(metrics)
        if not self._is_the_same():
            return self._of_all(metrics)
        parts = [
            self._of_ours(group) if ours else self._of_others(group)
            for ours, group in groupby(metrics, lambda one: isinstance(one, Shown))
        ]
        return b"".join([*parts, self._end])

    @property
    def _end(self) -> bytes:
        return _EOF if self._openmetrics else b""

    def _of_ours(self, metrics: Iterable[Any]) -> bytes:
        texts = [one.text(openmetrics=self._openmetrics) for one in metrics]
        return "".join(texts).encode()

    def _of_others(self, metrics: Iterable[Metric]) -> bytes:
        return self._of_all(list(metrics)).removesuffix(self._end)

    def _of_all(self, metrics: Sequence[Metric]) -> bytes:
        try:
            return self._encode(_Collected(metrics))
        except UnicodeEncodeError:
            # One label of the application's that is no UTF-8 would cost the page.
            return self._encode(_Collected([_said(one) for one in metrics]))

    def _is_the_same(self) -> bool:
        """Whether *encode* writes names and numbers as all of its kind did until now.

        It may have been asked to escape underscores, or come from a later version.
        """
        probes = _probes()
        expected = self._encode(_Collected(probes))
        return expected == self._of_ours(probes) + self._end


def _each_once(metrics: Sequence[Metric]) -> list[Metric]:
    """*metrics* without ours that have a name of others, who may claim none."""
    ours = {one.name for one in metrics if isinstance(one, Shown)}
    others = {
        id(one): _of_others(one) if one.name in ours else one
        for one in metrics
        if not isinstance(one, Shown)
    }
    taken = {name for one in others.values() if one for name in names_of(one)}
    kept = [
        (one if is_free(one, taken) else None)
        if isinstance(one, Shown)
        else others[id(one)]
        for one in metrics
    ]
    return [one for one in kept if one is not None]


def _of_others(metric: Metric) -> Metric | None:
    """What of *metric*, which has a name of ours, is not ours.

    prometheus_client's files have what a process enqueued before its consumer began,
    which the consumer goes on counting from.
    """
    rest = [
        one
        for one in metric.samples
        if one.name != _ENQUEUED.name or set(one.labels) != set(_ENQUEUED.labels)
    ]
    if len(rest) == len(metric.samples):
        return metric
    if not rest:
        return None
    others = Metric(metric.name, metric.documentation, metric.type)
    others.samples = rest
    return others


class _Collected:
    """A registry that has been collected."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _said(metric: Metric) -> Metric:
    said = Metric(metric.name, encodable.text(metric.documentation), metric.type)
    said.unit = metric.unit
    said.samples = [_said_sample(one) for one in metric.samples]
    return said


def _said_sample(sample: Sample) -> Sample:
    labels = {key: encodable.text(value) for key, value in sample.labels.items()}
    return sample._replace(labels=labels)


def _probes() -> list[Shown]:
    """A metric of each kind, with whatever may be written in several ways."""
    odd = 'a\\b"c\nd'
    buckets = Buckets([1, 2_000_000])
    buckets.seconds = 0.1
    buckets.exemplars[0] = Trace("0", "1", 1e-7, 2e9)
    info = CATALOG[n.CONSUMER_INFO]
    return [
        ShownNumbers(CATALOG[n.TASK_RETRIES_TOTAL], {("q", odd): 1e21, ("r", ""): 7}),
        ShownNumbers(CATALOG[n.WORKERS], {("q", "thread"): 1e9 + 0.25}),
        ShownNumbers(info, {("q",) * len(info.labels): 1}),
        ShownHistogram(CATALOG[n.TASK_WAIT_SECONDS], [1e7], {("q", odd): buckets}),
    ]
