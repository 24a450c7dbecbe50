"""Records as workers send them, and a metrics page as a dict."""

from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from huey_otel._prometheus.catalog import CATALOG
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.consumers import ConsumerInfo
from huey_otel._wire.record import Record, Source, TaskFacts

SOURCE = Source(queue="shop", host="here", worker_type="thread")
FORKING = Source(queue="shop", host="here", worker_type="process")
TASK = "app.tasks.add"


def record(
    status: str,
    *,
    key: int = 1,
    name: str | None = TASK,
    timestamp: float = 1000.0,
    pid: int = 7,
    worker: str | None = "Worker-1",
    source: int = 1,
    **extra: Any,
) -> Record:
    facts = None if name is None else tuple(TaskFacts("id", "add", name, None, None, 1))
    return Record(source, status, timestamp, pid, key, worker, facts, 0, extra or None)


def run(
    metrics: Collector,
    *,
    key: int = 1,
    outcome: str | None = "success",
    final: str | None = "success",
    duration: float = 0.5,
    wait: float | None = 0.2,
    name: str = TASK,
) -> None:
    """One attempt from its start to its end."""
    metrics(record("started", key=key, name=name, wait=wait), SOURCE)
    ending = {"outcome": outcome, "final": final, "duration": duration}
    metrics(record("ended", key=key, name=name, timestamp=1001.0, **ending), SOURCE)


def consumer(*tasks: str, **given: Any) -> ConsumerInfo:
    settings: dict[str, Any] = {
        "queue": "shop",
        "worker_type": "thread",
        "workers": 4,
        "periodic": True,
        "started": 900.0,
        "tasks": lambda: tasks,
    }
    return ConsumerInfo(**{**settings, **given})


def live_tasks(metrics: Collector, registered: int, ran: int) -> None:
    """So many tasks, of which *ran* have succeeded, failed and been retried."""
    names = [f"shop.orders.tasks.task_number_{number}" for number in range(registered)]
    metrics.add_consumer(1, consumer(*names))
    for number, name in enumerate(names[:ran]):
        seconds = 0.01 * 1.01**number
        for origin in ("call", "retry"):
            metrics(record("accepted", name=name, origin=origin), SOURCE)
        run(metrics, name=name, outcome="error", final=None, duration=seconds)
        metrics(record("error-task", name=name, exception="shop.DeclinedError"), SOURCE)
        metrics(record("retrying", name=name), SOURCE)
        run(metrics, name=name, outcome="error", final="failure", duration=seconds)
        run(metrics, name=name, duration=2 * seconds, wait=seconds)


def page(registry: CollectorRegistry, *names: str) -> dict[str, float]:
    """The lines of the page, of the metrics *names* or of all; no comments."""
    lines = generate_latest(registry).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {
        key: float(value)
        for key, value in pairs
        if not names or _metric(key.partition("{")[0]) in names
    }


def _metric(sample: str) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        if sample not in CATALOG and sample.removesuffix(suffix) in CATALOG:
            return sample.removesuffix(suffix)
    return sample
