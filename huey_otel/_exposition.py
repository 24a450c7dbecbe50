"""What a process shows of itself: metrics in a registry, and the page they are on."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from huey_otel._consumers import RunningConsumer
from huey_otel._exposed import Exposed
from huey_otel._forks import in_child
from huey_otel._metrics import Metrics
from huey_otel._producer import ProducerCounter
from huey_otel._queues import Queues

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from huey_otel._endpoint import Endpoint


class Exposition:
    """The metrics of all hueys of one registry; None is the default registry.

    Until a consumer starts, a process only counts what it enqueues. `metrics`
    is None until then.
    """

    def __init__(self, registry: "CollectorRegistry | None") -> None:
        self._given = registry
        self.producer = ProducerCounter(registry)
        self.metrics: Metrics | None = None
        self._queues: Queues | None = None
        self._numbers: set[int] = set()

    @property
    def registry(self) -> "CollectorRegistry":
        """The registry, the default one where none was given."""
        from prometheus_client import REGISTRY

        return self._given or REGISTRY

    def begin(self, exposed: Exposed) -> Metrics:
        """Show a consumer's metrics from now on; the first one decides the buckets."""
        if self.metrics is None:
            metrics = Metrics(
                duration_buckets=exposed.duration_buckets,
                wait_buckets=exposed.wait_buckets,
            )
            metrics.seed(self.producer.retired())
            self._queues = Queues()
            self.registry.register(metrics)
            self.registry.register(self._queues)
            self.metrics = metrics
        return self.metrics

    def add(
        self, number: int, consumer: RunningConsumer, storage: Callable[[], Any]
    ) -> None:
        """Show *consumer*, and what is in the *storage* of its queue."""
        self._numbers.add(number)
        if self.metrics is not None and self._queues is not None:
            self.metrics.add_consumer(number, consumer)
            self._queues.add(number, consumer.queue, storage)

    def remove(self, number: int) -> bool:
        """Show source *number* no more; True if nothing is left to show."""
        if number not in self._numbers:
            return False
        self._numbers.discard(number)
        if self.metrics is not None and self._queues is not None:
            self.metrics.remove(number)
            self._queues.remove(number)
            if not self._numbers:
                self.registry.unregister(self.metrics)
                self.registry.unregister(self._queues)
                self.metrics = self._queues = None
        return not self._numbers

    def ask_storages(self) -> None:
        """Ask before a scrape what must not be asked during one."""
        if self._queues is not None:
            self._queues.ask()


class Page:
    """The one endpoint of a process: it serves its first consumer's registry."""

    def __init__(self) -> None:
        self.endpoint: Endpoint | None = None
        self._checks: dict[int, Callable[[], str | None]] = {}
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        # The endpoint itself has closed its socket.
        self.endpoint = None
        self._checks = {}

    def open(
        self,
        number: int,
        exposition: Exposition,
        exposed: Exposed,
        health: Callable[[], str | None],
    ) -> None:
        """Serve, if a port is wanted and nothing is served yet."""
        self._checks[number] = health
        if exposed.port is None or self.endpoint is not None:
            return
        # A process that runs no consumer needs no HTTP server.
        from huey_otel._endpoint import Endpoint

        self.endpoint = Endpoint(
            exposition.registry,
            host=exposed.host,
            port=exposed.port,
            health=self._health,
            prepare=exposition.ask_storages,
        )
        self.endpoint.start()

    def where(self, exposed: Exposed) -> str:
        """Say to people where the page is."""
        if exposed.port is None:
            return "off, no port"
        url = self.endpoint and self.endpoint.url
        return url or f"not yet, port {exposed.port} is taken"

    def close(self, number: int) -> None:
        """Serve source *number* no more; the last one closes the endpoint."""
        self._checks.pop(number, None)
        if not self._checks and self.endpoint is not None:
            self.endpoint.close()
            self.endpoint = None

    def _health(self) -> str | None:
        reasons = [check() for check in list(self._checks.values())]
        return "; ".join(reason for reason in reasons if reason) or None
