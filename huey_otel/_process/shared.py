"""What all instrumented hueys of a process share: relay, routes, registries, page."""

import itertools
import threading
from typing import TYPE_CHECKING

from huey_otel._options.settings import Exposed
from huey_otel._process.outputs import Outputs
from huey_otel._process.page_owners import PageOwners
from huey_otel._prometheus.registry import MetricsPage, RegistryMetrics, is_default
from huey_otel._relay.relay import Relay, Routes
from huey_otel._safety.forks import in_child
from huey_otel._safety.shutdown import ShutdownTime

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class Shared:
    """One relay for all hueys that were instrumented before the last fork.

    `consuming` once a consumer runs in this process, or in the one that forked it.
    """

    def __init__(self) -> None:
        self.shutdown = ShutdownTime()
        self.routes = Routes()
        self.relay = Relay(self.routes)
        self.page = MetricsPage()
        self.owners = PageOwners()
        self.consuming = False
        self.numbers = itertools.count(1)
        self._expositions: dict[int, RegistryMetrics] = {}
        self._outputs: dict[int, Outputs] = {}
        self._begin()
        in_child(self._after_fork)

    def _begin(self) -> None:
        # Held while a consumer is shown, or an instrumentation is undone: a worker's
        # thread may show its consumer, and would open the page that was just closed.
        self.showing = threading.RLock()

    def _after_fork(self) -> None:
        self._begin()
        self.routes.forget_in_flight()

    def exposition(
        self, number: int, registry: "CollectorRegistry | None", exposed: Exposed
    ) -> RegistryMetrics:
        """What *registry* shows of source *number* and of all others that share it.

        Raises ValueError for other buckets than theirs.
        """
        key = 0 if is_default(registry) else id(registry)
        exposition = self._expositions.get(key) or RegistryMetrics(registry, exposed)
        exposition.join(number, exposed)
        self._expositions[key] = exposition
        return exposition

    def add(self, number: int, outputs: Outputs) -> None:
        """Send the records of source *number* to *outputs*."""
        self._outputs[number] = outputs
        self.routes.add(number, outputs.route)
        if self.consuming:
            # Tasks that run here may enqueue to it.
            outputs.exposition.begin()

    def has(self, number: int) -> bool:
        """Whether *number* was added and not removed."""
        return number in self._outputs

    def remove(self, number: int) -> None:
        """Undo `add` and `exposition`; the page closes with its last consumer."""
        self._outputs.pop(number, None)
        self.owners.remove(number)
        self.routes.remove(number)
        self.page.close(number)
        for key, exposition in list(self._expositions.items()):
            if exposition.leave(number):
                del self._expositions[key]

    def consumes(self) -> None:
        """A consumer starts: what is enqueued from now on is shown on its page."""
        self.consuming = True
        for outputs in list(self._outputs.values()):
            outputs.exposition.begin()
            outputs.renew()


class _Current:
    shared: Shared | None = None


def shared() -> Shared:
    """What this process shares; a worker that instruments a huey gets its own.

    The relay that a worker inherits writes to its parent, which has no route for a
    huey that was instrumented after the fork.
    """
    if _Current.shared is None or _Current.shared.relay.forked:
        _Current.shared = Shared()
    return _Current.shared
