"""What a process shows: metrics in a registry, and the one page that serves them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from huey_otel._options.settings import Exposed
from huey_otel._options.table import METRICS_HOST, METRICS_PORT
from huey_otel._prometheus.claims import Unclaimed, register
from huey_otel._prometheus.consumers import ConsumerInfo, Limits
from huey_otel._prometheus.producer import ProducerCounter
from huey_otel._prometheus.queue_gauges import QueueGauges
from huey_otel._safety.forks import in_child
from huey_otel._safety.log import warn
from huey_otel._storage.contents import Contents, Meaning

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from prometheus_client import CollectorRegistry

    from huey_otel._prometheus.collector import Collector
    from huey_otel._prometheus.endpoint import Endpoint


def is_default(registry: "CollectorRegistry | None") -> bool:
    """Whether *registry* is prometheus_client's own, by name or as None."""
    if registry is None:
        return True
    from prometheus_client import REGISTRY

    return registry is REGISTRY


class RegistryMetrics:
    """The metrics of all hueys of one registry; None is the default registry.

    Until a consumer starts, a process only counts what it enqueues. `collector`
    is None until then.
    """

    def __init__(self, registry: "CollectorRegistry | None", exposed: Exposed) -> None:
        self._given = registry
        self._exposed = exposed
        self.producer = ProducerCounter(registry)
        self.collector: Collector | None = None
        self._queues = QueueGauges()
        self._registered: list[Unclaimed] = []
        self._members: set[int] = set()

    @property
    def registry(self) -> "CollectorRegistry":
        """The registry, the default one where none was given."""
        from prometheus_client import REGISTRY

        return self._given or REGISTRY

    @staticmethod
    def load_reader() -> None:
        """Import what `reader` needs."""
        from huey_otel._prometheus import otel_reader  # noqa: F401

    def reader(self) -> "MetricReader":
        """OpenTelemetry's reader for Prometheus, in this registry."""
        from huey_otel._prometheus.otel_reader import ReaderOnPage

        return ReaderOnPage(self.registry)

    def join(self, number: int, exposed: Exposed) -> None:
        """Add source *number*; ValueError if it wants other buckets."""
        for name in ("duration_buckets", "wait_buckets"):
            theirs, ours = getattr(exposed, name), getattr(self._exposed, name)
            if theirs != ours:
                raise ValueError(
                    f"{name}={theirs}: another huey of this registry has {ours};"
                    " expected the same, or a registry= of its own"
                )
        self._members.add(number)

    def begin(self) -> None:
        """Show a consumer's metrics from now on."""
        if self.collector is None:
            # A process that runs no consumer imports no prometheus_client for it.
            from huey_otel._prometheus import own_page  # noqa: F401 - before any fork
            from huey_otel._prometheus.collector import Collector

            collector = Collector(
                duration_buckets=self._exposed.duration_buckets,
                wait_buckets=self._exposed.wait_buckets,
                enqueued=self.producer.retired(),
            )
            for one in (collector, self._queues):
                self._registered.append(register(one, self.registry))
            self.collector = collector

    def add(
        self,
        number: int,
        consumer: ConsumerInfo,
        storage: Callable[[], Any],
        meaning: Meaning,
    ) -> None:
        """Show *consumer*, and what is in the *storage* of its queue."""
        if self.collector is not None:
            self.collector.add_consumer(number, consumer)
            self._queues.add(number, consumer.queue, storage, meaning)

    def held(self, number: int) -> Contents | None:
        """What the storage of source *number* holds; None if it does not answer."""
        return self._queues.held(number)

    def stop(self, number: int) -> None:
        """Source *number* runs no consumer from now on; its counts stay."""
        self._queues.remove(number)
        if self.collector is not None:
            self.collector.remove(number)

    def leave(self, number: int) -> bool:
        """Stop showing source *number*; True if it was the last one."""
        if number not in self._members:
            return False
        self._members.discard(number)
        self.stop(number)
        if self._members:
            return False
        self.producer.retired()
        for unclaimed in self._registered:
            unclaimed.unregister()
        self._registered.clear()
        self.collector = None
        return True

    def own_page(self, belongs: Callable[[str], bool], *, gauges: bool) -> str | None:
        """The text of `own_page`; None while no consumer is shown."""
        if self.collector is None:
            return None
        from huey_otel._prometheus.own_page import own_page

        return own_page(self.collector, belongs, gauges=gauges)

    def prepare(self) -> None:
        """Compute before a scrape what would take too long during one."""
        self._queues.ask()
        if self.collector is not None:
            self.collector.foresee()


class Served(NamedTuple):
    """What is on the page, by the first queue that asked for one."""

    queue: str
    metrics: RegistryMetrics
    exposed: Exposed


class MetricsPage:
    """The one page of a process: that of its first consumer's registry."""

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None
        self._served: Served | None = None
        self._checks: dict[int, Callable[..., str | None]] = {}
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        # The endpoint itself has closed its socket.
        self.endpoint = self._served = None
        self._checks = {}

    def open(
        self,
        number: int,
        queue: str,
        metrics: RegistryMetrics,
        exposed: Exposed,
        health: Callable[..., str | None],
    ) -> None:
        """Serve, if a port is wanted and nothing is served yet."""
        self._checks[number] = health
        if exposed.port is None:
            return
        wanted = Served(queue, metrics, exposed)
        if self._served is not None:
            self._warn_of_unused(wanted, self._served)
            return
        # A process that runs no consumer needs no HTTP server.
        from huey_otel._prometheus.endpoint import Endpoint
        from huey_otel._prometheus.pages import Pages

        self._served = wanted
        pages = Pages(metrics.registry, self._health, metrics.prepare)
        self.endpoint = Endpoint(pages, host=exposed.host, port=exposed.port)

    def _warn_of_unused(self, wanted: Served, served: Served) -> None:
        """Log which options of *wanted* have no effect, except for defaults."""
        unused = []
        if wanted.metrics is not served.metrics:
            unused.append("registry=")
        if wanted.exposed.host not in (served.exposed.host, METRICS_HOST):
            unused.append(f"metrics_host={wanted.exposed.host!r}")
        if wanted.exposed.port not in (served.exposed.port, METRICS_PORT):
            unused.append(f"metrics_port={wanted.exposed.port}")
        if unused:
            warn(
                "queue %s: %s is not served; a process has one page, and this one's"
                " is that of queue %s (%s)",
                wanted.queue,
                " with ".join(unused),
                served.queue,
                self._address(),
            )

    def where(self, metrics: RegistryMetrics, exposed: Exposed) -> str:
        """Where the page with *metrics* is, for people to read."""
        served = self._served
        if served is not None and served.metrics is metrics:
            return self._address()
        if exposed.port is None:
            return "off, metrics_port=None"
        if served is None:
            return "not served, no consumer runs here"
        return (
            "not served: this process serves the registry of queue"
            f" {served.queue} ({self._address()}); serve registry= yourself, or"
            " give both queues the same"
        )

    def _address(self) -> str:
        if self.endpoint is None:
            return "closed"
        return self.endpoint.url or f"not yet, {self.endpoint.trouble}"

    def close(self, number: int) -> None:
        """Serve source *number* no longer; the last one closes the endpoint."""
        self._checks.pop(number, None)
        if not self._checks and self.endpoint is not None:
            self.endpoint.close()
            self.endpoint = self._served = None

    def _health(self, *limits: Limits) -> str | None:
        reasons = [check(*limits) for check in list(self._checks.values())]
        return "; ".join(reason for reason in reasons if reason) or None
