"""What runs here: the gauges of consumers, and of their periodic tasks."""

import os
import platform
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import huey

from huey_otel import _names as n
from huey_otel._prometheus.catalog import Labels, Values
from huey_otel._prometheus.periodic import Due
from huey_otel._safety.version import version
from huey_otel._wire.client import CLIENT


class Limits(NamedTuple):
    """For how many seconds a consumer may be silent; `busy` None means any time."""

    after: float
    busy: float | None = None


class ConsumerInfo(NamedTuple):
    """A running consumer. `started` is in Unix seconds.

    *tasks* returns the dotted paths of the registered tasks, *due* when the periodic
    ones are due, where their crontab says it. *stuck* returns the reasons why it is.
    *pids* are those of worker processes.
    """

    queue: str
    worker_type: str
    workers: int
    periodic: bool
    started: float
    tasks: Callable[[], Iterable[str]]
    due: Callable[[], Mapping[str, Due]] = dict
    stuck: Callable[[], Container[str]] = tuple
    service_version: Callable[[], str] = str
    pids: Callable[[], Iterable[int]] = tuple

    @property
    def labels(self) -> Labels:
        """Labels of huey_consumer_info."""
        return (
            self.queue,
            version(),
            str(huey.__version__),
            platform.python_version(),
            self.service_version(),
            CLIENT.host,
            self.worker_type,
            "true" if self.periodic else "false",
        )


def of_consumers(consumers: Sequence[ConsumerInfo], running: Values) -> Values:
    """What is shown of *consumers*, whose workers are as busy as *running* says."""
    workers: dict[Labels, float] = {}
    started: dict[Labels, float] = {}
    memory: dict[Labels, float] = {}
    stuck: dict[Labels, float] = {}
    for consumer in consumers:
        labels = (consumer.queue, consumer.worker_type)
        workers[labels] = workers.get(labels, 0) + consumer.workers
        first = started.get((consumer.queue,), consumer.started)
        started[consumer.queue,] = min(first, consumer.started)
        for resident in filter(None, map(_resident_memory, consumer.pids())):
            memory[consumer.queue,] = memory.get((consumer.queue,), 0) + resident
        found = consumer.stuck()
        for reason in n.STUCK_REASONS:
            labels = (consumer.queue, reason)
            stuck[labels] = max(stuck.get(labels, 0), float(reason in found))
    idle: dict[Labels, float] = dict.fromkeys(workers, 0)
    busy = (n.WORKERS_BUSY, n.WORKER_BUSY_SECONDS_TOTAL)
    return {
        n.WORKERS: workers,
        **{name: idle | running[name] for name in busy},
        n.WORKERS_MEMORY: memory,
        n.CONSUMER_INFO: {consumer.labels: 1 for consumer in consumers},
        n.CONSUMER_START_TIME: started,
        n.CONSUMER_STUCK: stuck,
    }


def _resident_memory(pid: int) -> int | None:
    """Bytes of memory that process *pid* has; None if it is gone, or not on Linux."""
    try:
        _, pages, *_ = Path(f"/proc/{pid}/statm").read_bytes().split()
    except (OSError, ValueError):
        return None
    return int(pages) * os.sysconf("SC_PAGESIZE")


def of_periodic(
    observed: Mapping[Labels, Due], consumers: Iterable[ConsumerInfo]
) -> Values:
    """When periodic tasks are due: those of *consumers*, and others as *observed*."""
    known = dict(observed)
    for consumer in consumers:
        for name, due in consumer.due().items():
            known[consumer.queue, name] = due
    return {
        n.PERIODIC_INTERVAL: {task: due.interval for task, due in known.items()},
        n.PERIODIC_NEXT_RUN: {task: due.next_run for task, due in known.items()},
    }
