"""The records and events of an instrumented huey, collected for a test."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from huey.api import Huey

from huey_otel import Instrumentation, instrument, mapping
from huey_otel._tasks.attempt import unfinished
from huey_otel._wire.record import Record, Source
from tests.support.strict_readers import event_of

LATER = datetime.datetime(2100, 1, 1)  # noqa: DTZ001 - huey's times are naive
"""A time at which everything on a schedule is due."""

EARLIER = datetime.datetime(2000, 1, 1)  # noqa: DTZ001 - likewise


class Recorded:
    """A sink that keeps all records, those that are never published included."""

    def __init__(self, huey: Huey, **options: Any) -> None:
        self.instrumentation: Instrumentation = instrument(huey, **options)
        self._records: list[tuple[Record, Source]] = []
        route = self.instrumentation._outputs.route
        route.sinks = (*route.sinks, self)

    def __call__(self, record: Record, source: Source) -> None:
        self._records.append((record, source))

    @property
    def records(self) -> list[Record]:
        """All records until now."""
        assert self.instrumentation._shared.relay.flush(5.0)
        return [record for record, _ in self._records]

    @property
    def events(self) -> list[dict[str, Any]]:
        """All records until now as event dicts, also those that Redis never gets."""
        assert self.instrumentation._shared.relay.flush(5.0)
        return [event_of(record, source) for record, source in self._records]

    @property
    def published(self) -> list[dict[str, Any]]:
        """The events that Redis readers get, in order."""
        table = mapping.TABLE
        return [event for event in self.events if table[event["status"]].is_event]

    @property
    def steps(self) -> list[tuple[str, int | None, int | None]]:
        """Status, retries and attempt of each published event, in order."""
        return [
            (event["status"], event["retries"], event["attempt"])
            for event in self.published
        ]

    @property
    def ends(self) -> list[tuple[str | None, str | None]]:
        """Outcome of the attempt and final outcome of the task, for each end."""
        return [
            (record.extra["outcome"], record.extra["final"])
            for record in self._endings()
        ]

    def each_message_has_one_end(self) -> bool:
        """Whether each popped message has exactly one end."""
        ended = [record.key for record in self._endings() if record.key]
        told = {record.key for record in self.records if record.key}
        return sorted(ended) == sorted(told) and not unfinished

    def _endings(self) -> Iterator[Record]:
        for record in self.records:
            if record.status == mapping.ENDED or mapping.closes(record.extra):
                yield record

    @property
    def origins(self) -> list[tuple[str | None, str]]:
        """Short name and origin of each task that was put on the queue."""
        return [
            (event["task"], event["origin"])
            for event in self.events
            if event["status"] == "enqueued"
        ]

    def keys(self, status: str) -> list[int]:
        """The keys of all records of *status*, sorted."""
        return sorted(record.key for record in self.records if record.status == status)

    def clear(self) -> None:
        """Forget what was collected until now."""
        assert self.instrumentation._shared.relay.flush(5.0)
        self._records.clear()


@dataclass
class Drain:
    """Does what a worker does, until the queue is empty."""

    huey: Huey

    def __call__(self, *, at: datetime.datetime | None = None) -> list[BaseException]:
        """Execute all that is queued; what escaped from huey meanwhile."""
        return list(self._escaping(at))

    def scheduler(self) -> list[BaseException]:
        """Move all that is on the schedule to the queue, as the scheduler does."""
        escaped: list[BaseException] = []
        for task in self.huey.read_schedule(LATER):
            try:
                self.huey.enqueue(task)
            except Exception as error:  # noqa: BLE001 - as the scheduler
                escaped.append(error)
        return escaped

    def ripe(self) -> list[BaseException]:
        """Execute all that is on the schedule, however late it is due."""
        return [*self.scheduler(), *self(at=LATER)]

    def _escaping(self, at: datetime.datetime | None) -> Iterator[BaseException]:
        for _ in range(1_000):
            try:
                task = self.huey.dequeue()
                if task is None:
                    return
                self.huey.execute(task, at)
            except BaseException as error:  # noqa: BLE001 - the caller compares
                yield error
        raise AssertionError("the queue never gets empty")
