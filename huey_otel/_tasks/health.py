"""Health: whether a consumer's workers and its scheduler live."""

import time
from typing import Any

from huey.consumer import Consumer


class Health:
    """Says why a consumer is not well, or None.

    A dead worker is replaced at huey's next health check, and one that was
    recycled is no illness: only who has been dead for over twice the interval
    is one, or at once where nobody would replace it. Who ends because the
    consumer is `stopping` is not dead.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self.stopping = False
        # The processes themselves: another one may get the id of one that is gone.
        self._dead_since: dict[Any, float] = {}

    def __call__(self) -> str | None:
        if self.stopping:
            return None
        consumer = self._consumer
        patience = 0.0
        if consumer._health_check:
            patience = 2 * consumer._health_check_interval
        now = time.monotonic()
        dead = self._processes_dead()
        before = self._dead_since
        since = {process: before.get(process, now) for _, process in dead}
        self._dead_since = since
        ill = [name for name, process in dead if now - since[process] >= patience]
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
