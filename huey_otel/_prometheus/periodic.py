"""Periodic tasks, as the metrics show them: how often they are due, and when next."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from huey_otel import _names as n
from huey_otel._prometheus.calendar import Due
from huey_otel._prometheus.consumers import RunningConsumer
from huey_otel._prometheus.series import Labels, shown
from huey_otel._wire.record import Record, Source

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_MINUTE: Final = 60


class ObservedRuns:
    """What is seen of the runs of periodic tasks here. Not thread-safe."""

    def __init__(self) -> None:
        self._last: dict[Labels, float] = {}
        self._due: dict[Labels, Due] = {}

    def scheduled(self, record: Record, _: Source, task: Labels) -> None:
        """*record* says that the scheduler has enqueued *task*."""
        minute = record.timestamp // _MINUTE * _MINUTE
        last = self._last.get(task, minute)
        if minute >= last:
            self._last[task] = minute
        if minute > last:
            self._due[task] = Due(minute - last, 2 * minute - last)

    def due(self) -> dict[Labels, Due]:
        """When they are due again, if they go on as they did the last time."""
        return self._due.copy()


def of_periodic(
    observed: Mapping[Labels, Due], consumers: Iterable[RunningConsumer]
) -> "Iterator[Metric]":
    """What is known of the tasks of *consumers*, and *observed* of others."""
    known = dict(observed)
    for consumer in consumers:
        for name, due in consumer.due().items():
            known[consumer.queue, name] = due
    yield shown(
        n.PERIODIC_INTERVAL, {task: due.interval for task, due in known.items()}
    )
    yield shown(
        n.PERIODIC_NEXT_RUN, {task: due.next_run for task, due in known.items()}
    )
