"""Health: whether a consumer's workers and its scheduler live."""

import time
from typing import Any

from huey.consumer import Consumer

from huey_otel import _names as n
from huey_otel._tasks.workers import processes, worker_name


class Health:
    """Says why a consumer is not well, or None.

    A recycled or dead worker is replaced at huey's next health check, so one is ill
    when it has been dead for over twice the interval, or at once where the checks
    are off. None is while the consumer is `stopping`.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.stopping = False
        # By process, not by its id, which a later one may get.
        self._dead_since: dict[Any, float] = {}

    def __call__(self) -> str | None:
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
