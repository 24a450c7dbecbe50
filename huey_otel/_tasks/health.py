"""Health: whether the workers and the scheduler of a consumer live, and go on."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from huey_otel import _names as n
from huey_otel._prometheus.consumers import Limits
from huey_otel._safety.forks import in_child
from huey_otel._safety.guard import guarded
from huey_otel._tasks.workers import processes, worker_name

if TYPE_CHECKING:
    from huey.consumer import Consumer


class Health:
    """Says why a consumer is not well, or None.

    A recycled or dead worker is replaced at huey's next health check, so one is ill
    when it has been dead for over twice the interval, or at once where the checks
    are off. No worker is ill while the consumer is `stopping`.
    """

    def __init__(
        self, consumer: "Consumer", stuck: Callable[[Limits], dict[str, str]]
    ) -> None:
        self._consumer = consumer
        self._stuck = stuck
        self.stopping = False
        # By process, not by its id, which a later one may get.
        self._dead_since: dict[Any, float] = {}
        # A task that forks may collect metrics in the child, which has no workers.
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        self.stopping = True

    def __call__(self, limits: Limits | None = None, /) -> str | None:
        """With *limits*, one that lives and does not go on is ill as well."""
        reasons = [self._dead()]
        if limits is not None:
            reasons += (f"stuck, {text}" for text in self.stuck(limits).values())
        return "; ".join(filter(None, reasons)) or None

    def stuck(self, limits: Limits) -> dict[str, str]:
        """What is stuck by *limits*: reasons, each with a text for people."""
        return (None if self.stopping else self._found(limits)) or {}

    @guarded
    def _found(self, limits: Limits) -> dict[str, str]:
        return self._stuck(limits)

    def _dead(self) -> str | None:
        if self.stopping:
            return None
        consumer = self._consumer
        patience = 0.0
        if consumer._health_check:
            patience = 2 * consumer._health_check_interval
        now = time.monotonic()
        before, self._dead_since = self._dead_since, {}
        ill = []
        for number, process in enumerate(processes(consumer)):
            if consumer.environment.is_alive(process):
                continue
            since = self._dead_since[process] = before.get(process, now)
            if now - since >= patience:
                ill.append(worker_name(number) if number else n.SCHEDULER)
        return f"dead: {', '.join(ill)}" if ill else None
