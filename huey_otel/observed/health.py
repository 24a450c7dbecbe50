"""Health: whether a consumer's workers and its scheduler live."""

import time
from typing import Any

from huey.consumer import Consumer


class Health:
    """Says why a consumer is not well, or None.

    A dead worker is replaced at huey's next health check, and one that was
    recycled is no illness: only who has been dead for over twice the interval
    is one, or at once where nobody would replace it.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._dead_since: dict[int, float] = {}

    def __call__(self) -> str | None:
        consumer = self._consumer
        patience = 0.0
        if consumer._health_check:
            patience = 2 * consumer._health_check_interval
        now = time.monotonic()
        dead = {id(process): name for name, process in self._processes_dead()}
        self._dead_since = {
            identity: self._dead_since.get(identity, now) for identity in dead
        }
        ill = [
            name
            for identity, name in dead.items()
            if now - self._dead_since[identity] >= patience
        ]
        return f"dead: {', '.join(ill)}" if ill else None

    def _processes_dead(self) -> list[tuple[str, Any]]:
        consumer = self._consumer
        named = [("Scheduler", consumer.scheduler)]
        named += [
            (f"Worker-{number}", process)
            for number, (_, process) in enumerate(consumer.worker_threads, 1)
        ]
        return [
            (name, process)
            for name, process in named
            if not consumer.environment.is_alive(process)
        ]
