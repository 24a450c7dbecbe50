"""The events that a listener in the test's own process receives."""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any, cast

import redis

from huey_otel import EventListener
from huey_otel.events import Event

Step = tuple[str, list[str]]

ALWAYS = frozenset(
    {
        *("status", "error", "id", "task", "retries", "retry_delay", "execute_time"),
        *("timestamp", "queue", "name", "attempt", "worker", "worker_type"),
        *("pid", "host", "publisher", "seq"),
    }
)
FAILED = ("traceback", "exception")


def step(status: str, *extra: str) -> Step:
    """An event of *status*, with the keys that all have and those of *extra*."""
    return status, sorted(ALWAYS.union(extra))


STARTED = step("started", "wait")
FINISHED = step("finished", "duration")
RETRYING = step("retrying")
SCHEDULED = step("scheduled")
ERROR_TASK = step("error-task", "duration", *FAILED)


def steps(events: Iterable[Any]) -> list[Step]:
    """The status and the sorted keys of each of *events*."""
    return [(event["status"], sorted(event)) for event in events]


class ReceivedEvents:
    """Listens on a thread and keeps all events; subscribed once it is made."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self.listener = EventListener(url, channel)
        self.events: list[Event] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        for event in self.listener:
            self.events.append(event)

    def of(self, task_id: str | None) -> list[Event]:
        """The events of one task so far."""
        return [event for event in list(self.events) if event["id"] == task_id]

    def count(self, status: str) -> int:
        """How many events with *status* have come so far."""
        return sum(event["status"] == status for event in list(self.events))

    def wait_for(
        self, task_id: str | None, count: int, *, seconds: float = 60.0
    ) -> list[Event]:
        """The events of one task, once they are *count* or time is up.

        No timeout is raised: the comparison that follows shows what is missing.
        """
        deadline = time.monotonic() + seconds
        while len(self.of(task_id)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.of(task_id)

    def catch_up(self) -> list[Event]:
        """Everything that was published before this call."""
        mark = {"status": "mark", "id": str(uuid.uuid4())}
        self._publish(json.dumps(mark))
        assert self.wait_for(mark["id"], 1) == [mark]
        self.events.remove(cast("Event", mark))
        return list(self.events)

    def _publish(self, message: str) -> None:
        with redis.Redis.from_url(self._url) as client:
            client.publish(self.listener.channel, message)

    def stop(self) -> None:
        self.listener.close()
        # The listener notices its end when the next message comes.
        with contextlib.suppress(redis.ConnectionError):
            self._publish("the end")
        self._thread.join(60)
        assert not self._thread.is_alive()
