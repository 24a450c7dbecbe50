"""Claims: our metrics take no name in a registry away from the application.

A registry refuses a `Gauge(...)` whose name another collector has claimed. Ours claim
none; one whose name the application has is left out and logged.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from huey_otel import _names as n
from huey_otel._safety.losses import LOSSES

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Metric

_SUFFIXES: Final = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
"""What a registry of prometheus_client's adds to the name of a metric of a type."""


class Collecting(Protocol):
    """What gives metrics to a registry."""

    def collect(self) -> "Iterable[Metric]": ...


class Unclaimed:
    """A collector in *registry* that claims no names there."""

    def __init__(self, collector: Collecting, registry: "CollectorRegistry") -> None:
        self._collector = collector
        self._registry = registry

    def describe(self) -> "list[Metric]":
        """Nothing, as the registry claims the names of all that is described."""
        return []

    def collect(self) -> "Iterator[Metric]":
        """All metrics whose names are free."""
        claimed = claimed_in(self._registry)
        return (one for one in self._collector.collect() if is_free(one, claimed))

    def unregister(self) -> None:
        """Leave the registry, unless the application has removed it already."""
        with suppress(KeyError):
            self._registry.unregister(self)


def claimed_in(registry: "CollectorRegistry") -> Container[str]:
    """The names that *registry* refuses to register again, now and later."""
    # To try by registering and unregistering would claim the name for a moment.
    claimed: Container[str] = getattr(registry, "_names_to_collectors", ())
    return claimed


def names_of(metric: "Metric") -> list[str]:
    """All names that are taken on a page where *metric* is."""
    suffixes = _SUFFIXES.get(metric.type, ())
    return [metric.name, *(f"{metric.name}{suffix}" for suffix in suffixes)]


def is_free(metric: "Metric", taken: Container[str]) -> bool:
    """Whether no name of *metric* is among those *taken*; logs a name that is."""
    for name in names_of(metric):
        if name in taken:
            LOSSES.count_streak(
                n.LOSS_INTERNAL,
                streak=f"metric {metric.name}",
                why=f"the application has a metric {name} of its own in the registry,"
                f" so {metric.name} of huey-otel is not shown; give instrument()"
                " a registry= of its own to have both",
            )
            return False
    return True


def register(collector: Collecting, registry: "CollectorRegistry") -> Unclaimed:
    """Put *collector* into *registry* so that it claims no names there."""
    unclaimed = Unclaimed(collector, registry)
    registry.register(unclaimed)
    # So `name[]` finds it, from prometheus_client 0.25 on.
    nameless = getattr(registry, "_collectors_without_names", None)
    if nameless is not None and unclaimed not in nameless:
        nameless.append(unclaimed)
    return unclaimed


def restricted(registry: "CollectorRegistry", names: Sequence[str]) -> "list[Metric]":
    """The metrics of *registry* that have samples of these *names*."""
    found: list[Metric] = list(registry.restricted_registry(names).collect())
    if hasattr(registry, "_collectors_without_names"):
        return found
    # prometheus_client 0.24 and older find what has claimed a name, and nothing else.
    for collector in list(getattr(registry, "_collector_to_names", ())):
        if isinstance(collector, Unclaimed):
            ours: Iterator[Any] = collector.collect()
            parts = (one._restricted_metric(names) for one in ours)  # noqa: SLF001 - as there
            found += [part for part in parts if part]
    return found
