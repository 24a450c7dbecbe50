"""Records as workers send them, and a metrics page as a dict."""

import random
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from huey_otel._prometheus.catalog import CATALOG
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.consumers import ConsumerInfo
from huey_otel._wire.record import Record, Source, TaskFacts

SOURCE = Source(queue="shop", host="here", worker_type="thread")
FORKING = Source(queue="shop", host="here", worker_type="process")
TASK = "app.tasks.add"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
OF_TASK = 'queue="shop",task="app.tasks.add"'


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


def feed(collector: Collector, *records: Record, source: Source = SOURCE) -> None:
    """Hand *records* over as the relay does."""
    for one in records:
        collector(one, source)


def sampled(one: Record, span_id: str) -> Record:
    """The same record, of an attempt whose span is sampled."""
    ids = {"trace_id": int(TRACE_ID, 16), "span_id": int(span_id, 16)}
    facts = TaskFacts(*(one.facts or ()))._replace(**ids)
    return one._replace(facts=tuple(facts))


def run(
    collector: Collector,
    *,
    key: int = 1,
    outcome: str | None = "success",
    final: str | None = "success",
    duration: float = 0.5,
    wait: float | None = 0.2,
    name: str = TASK,
) -> None:
    """One attempt from its start to its end."""
    collector(record("started", key=key, name=name, wait=wait), SOURCE)
    ending: dict[str, Any] = {"outcome": outcome, "final": final, "duration": duration}
    collector(record("ended", key=key, name=name, timestamp=1001.0, **ending), SOURCE)


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


def live_tasks(collector: Collector, registered: int, ran: int) -> None:
    """Register that many tasks; let *ran* of them succeed, fail and be retried."""
    names = [f"shop.orders.tasks.task_number_{number}" for number in range(registered)]
    collector.add_consumer(1, consumer(*names))
    for number, name in enumerate(names[:ran]):
        seconds = 0.01 * 1.01**number
        for origin in ("call", "retry"):
            collector(record("accepted", name=name, origin=origin), SOURCE)
        run(collector, name=name, outcome="error", final=None, duration=seconds)
        collector(
            record("error-task", name=name, exception="shop.DeclinedError"), SOURCE
        )
        collector(record("retrying", name=name), SOURCE)
        run(collector, name=name, outcome="error", final="failure", duration=seconds)
        run(collector, name=name, duration=2 * seconds, wait=seconds)


def random_records(number: int) -> Iterator[Record]:
    """What *number* tasks may send, from enqueue to end; always the same."""
    dice = random.Random(3)
    outcomes = ["success", "error", "timeout", "locked", "canceled", "interrupted"]
    for key in range(1, number + 1):
        name = f"app.task{dice.randrange(5)}"
        when = dice.uniform(1000, 2000)
        late: dict[str, Any] = {}
        if dice.random() < 0.3:
            late["late"] = dice.expovariate(1)
        yield record(
            "accepted", name=name, origin=dice.choice(["call", "retry"]), **late
        )
        wait = dice.choice([None, 0.0, 0.5, dice.expovariate(3)])
        yield record("started", key=key, name=name, wait=wait, timestamp=when)
        outcome = dice.choice(outcomes)
        final = dice.choice([None, "success", "failure", "timeout"])
        if outcome == "error":
            yield record("error-task", key=key, name=name, exception="app.Oops")
            yield record("retrying", key=key, name=name)
        duration = dice.choice([0.5, dice.expovariate(0.1)])
        ended: dict[str, Any] = {
            "outcome": outcome,
            "final": final,
            "duration": duration,
        }
        yield record("ended", key=key, name=name, timestamp=when + 1, **ended)
        yield record("error-dequeueing", name=None, count=dice.randrange(1, 4))


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
