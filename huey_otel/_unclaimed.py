"""Unclaimed: what of a collector's metrics nobody else has in the registry."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from huey_otel import _names as n
from huey_otel._losses import LOSSES

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric


class Described(Protocol):
    """A collector that can name its metrics without collecting them."""

    def describe(self) -> "list[Metric]": ...
    def collect(self) -> "Iterator[Metric]": ...


class Unclaimed:
    """Shows *collector* without the metrics that *claimed* names."""

    def __init__(self, collector: Described, claimed: frozenset[str]) -> None:
        self._collector = collector
        self._claimed = claimed

    def describe(self) -> "list[Metric]":
        """All that is shown."""
        return [one for one in self._collector.describe() if self._shows(one)]

    def collect(self) -> "Iterator[Metric]":
        """All that is shown, with its values."""
        return filter(self._shows, self._collector.collect())

    def _shows(self, metric: "Metric") -> bool:
        return metric.name not in self._claimed


def unclaimed(collector: Described, registry: "CollectorRegistry") -> Unclaimed:
    """What of *collector* can be registered; a name that is taken is a loss."""
    claimed = frozenset(
        metric.name for metric in collector.describe() if not _is_free(metric, registry)
    )
    for name in sorted(claimed):
        LOSSES.count(
            n.LOSS_INTERNAL,
            streak=f"metric {name}",
            why=f"the application has a metric {name} of its own in the registry,"
            " ours is not shown",
        )
    return Unclaimed(collector, claimed)


def _is_free(metric: "Metric", registry: "CollectorRegistry") -> bool:
    probe = _Probe(metric)
    try:
        registry.register(probe)
    except ValueError:
        return False
    registry.unregister(probe)
    return True


class _Probe:
    """Claims the names of one metric, which only a registry knows how to tell."""

    def __init__(self, metric: "Metric") -> None:
        self._metric = metric

    def describe(self) -> "list[Metric]":
        return [self._metric]

    def collect(self) -> "list[Metric]":
        return []
