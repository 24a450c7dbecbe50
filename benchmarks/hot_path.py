"""What a task pays for telemetry, as ratios to the least that it could cost.

    python benchmarks/hot_path.py [ROUNDS]

All is measured in one run, in turns, and of each the fastest round counts: in
CPU time of the thread that enqueues or works, and of the whole process for
what the consumer's main process does with the events.
"""

import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from huey import Huey, MemoryHuey
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, Tracer
from prometheus_client import CollectorRegistry

from huey_otel import Instrumentation, instrument
from huey_otel._metrics import Metrics
from huey_otel._records import Key, Record, Source, Sum
from huey_otel._relay import Relay
from huey_otel._routes import Route, Routes
from huey_otel._spelling import spell
from huey_otel.mapping import DEQUEUED, ENDED, TABLE, Published

ROUNDS: Final = 40
TASKS: Final = 250
RELAYED: Final = 5_000
CHUNK: Final = 100
PACKAGES: Final = (
    *("huey-otel", "huey", "opentelemetry-sdk", "prometheus-client", "redis"),
)
ATTRIBUTES: Final[dict[str, str | int]] = {
    "messaging.system": "huey",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": "bench",
    "messaging.message.id": "5fcd8a6e-1de1-4f6e-93bb-1ef5d4c1c7a2",
    "huey.task.name": "__main__.nothing",
    "huey.task.attempt": 1,
    "huey.task.retries_left": 0,
}

Measure = Callable[[], float]
"""Does its work once, and gives the CPU seconds for one task of it."""


class Dropping(SpanExporter):
    """Takes spans, and forgets them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Say that all is well."""
        return SpanExportResult.SUCCESS


def provider(sampler: Sampler) -> TracerProvider:
    """Give what an application has, up to where spans leave the process."""
    made = TracerProvider(sampler=sampler, resource=Resource({}))
    made.add_span_processor(BatchSpanProcessor(Dropping()))
    return made


def nothing() -> None:
    """Do nothing: the task."""


class Queue:
    """A huey in memory with one task, instrumented or not."""

    def __init__(self, sampler: Sampler | None) -> None:
        self.huey: Huey = MemoryHuey("bench")
        self.task = self.huey.task()(nothing)
        self._instrumentation: Instrumentation | None = None
        if sampler is not None:
            self._instrumentation = instrument(
                self.huey,
                registry=CollectorRegistry(),
                tracer_provider=provider(sampler),
            )

    def produce(self) -> float:
        """Enqueue all tasks."""
        task, began = self.task, time.thread_time()
        for _ in range(TASKS):
            task()
        spent = time.thread_time() - began
        self._settle()
        self.huey.storage.flush_queue()
        return spent / TASKS

    def work(self) -> float:
        """Do all tasks."""
        for _ in range(TASKS):
            self.task()
        self._settle()
        huey, began = self.huey, time.thread_time()
        for _ in range(TASKS):
            huey.execute(huey.dequeue())
        spent = time.thread_time() - began
        self._settle()
        return spent / TASKS

    def _settle(self) -> None:
        """Let other threads be done with what they were given."""
        if self._instrumentation is not None:
            self._instrumentation.flush()
        gc.collect()


class Floor:
    """The bare SDK, doing the same spans."""

    def __init__(self, sampler: Sampler) -> None:
        self._provider = provider(sampler)
        self._tracer: Tracer = self._provider.get_tracer("floor")
        self._headers: dict[str, str] = {}
        self._produce(self._headers)

    def _produce(self, headers: dict[str, str]) -> None:
        span = self._tracer.start_span(
            "enqueue", kind=SpanKind.PRODUCER, attributes=ATTRIBUTES
        )
        token = contexts.attach(trace.set_span_in_context(span))
        propagate.inject(headers)
        contexts.detach(token)
        span.end()

    def _work(self) -> None:
        parent = propagate.extract(self._headers)
        span = self._tracer.start_span(
            "process", context=parent, kind=SpanKind.CONSUMER, attributes=ATTRIBUTES
        )
        token = contexts.attach(trace.set_span_in_context(span, parent))
        contexts.detach(token)
        span.end()

    def produce(self) -> float:
        """Make all spans of producers."""
        began = time.thread_time()
        for _ in range(TASKS):
            self._produce({})
        return self._spent(began)

    def work(self) -> float:
        """Make all spans of workers."""
        began = time.thread_time()
        for _ in range(TASKS):
            self._work()
        return self._spent(began)

    def _spent(self, began: float) -> float:
        spent = time.thread_time() - began
        self._provider.force_flush()
        gc.collect()
        return spent / TASKS


class NoFeed:
    """A feed up to the socket: it spells events out, and sends them nowhere."""

    def __init__(self) -> None:
        self.events = 0

    def __call__(self, record: Record, source: Source) -> None:
        """Take *record* in."""
        if TABLE[record.status].published is not Published.NEVER:
            self.events += 1
            spell(record, source).encode()

    def add_sum(self, key: Key, total: Sum, source: Source) -> None:
        """Refuse: a sum is no measurement."""
        raise AssertionError("more than the relay could take")


class Main:
    """The consumer's main process: relay, metrics, and a feed."""

    def __init__(self) -> None:
        self._feed = NoFeed()
        routes = Routes()
        self._relay = Relay(routes.deliver, routes.deliver_sum)
        source = Source(queue="bench", host="here", worker_type="process")
        routes.add(1, Route(source, (Metrics(), self._feed)))

    def of_threads(self) -> float:
        """Handle what threads of this process send."""
        records = self._records(os.getpid())
        began = time.process_time()
        for start in range(0, len(records), CHUNK):
            for record in records[start : start + CHUNK]:
                self._relay.send(record)
            self._relay.flush(10.0)
        return self._spent(began)

    def of_processes(self) -> float:
        """Handle what a forked worker sends."""
        self._relay.open_pipe()
        began = time.process_time()
        pid = os.fork()
        if not pid:
            self._send_all()
        os.waitpid(pid, 0)
        self._relay.flush(10.0)
        return self._spent(began)

    def _send_all(self) -> None:
        try:
            for start, record in enumerate(self._records(os.getpid())):
                self._relay.send(record)
                if start % CHUNK == 0:
                    self._relay.flush(10.0)
            self._relay.flush(10.0)
        finally:
            os._exit(0)

    def _spent(self, began: float) -> float:
        spent, events = time.process_time() - began, self._feed.events
        self._feed.events = 0
        if events != RELAYED:
            raise AssertionError(f"{events} events arrived, and {RELAYED} were sent")
        return spent / RELAYED

    def _records(self, pid: int) -> list[Record]:
        """All that is said of tasks that succeed: two events each, and two records."""
        records = []
        for key in range(1, RELAYED // 2 + 1):
            facts = ("5fcd8a6e-1de1-4f6e-93bb-1ef5d4c1c7a2", "nothing", NAME, 0, None)
            ids = (1, "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", None)
            told: tuple[tuple[str, dict[str, Any] | None], ...] = (
                (DEQUEUED, None),
                ("started", {"wait": 0.0123}),
                ("finished", {"duration": 0.0456}),
                (ENDED, {"outcome": "success", "final": "success", "duration": 0.0456}),
            )
            for status, extra in told:
                moment, worker = 1_700_000_000.5, "Worker-1"
                records.append(
                    Record(
                        *(1, status, moment, pid, key, worker, facts + ids, 0),
                        extra=extra,
                    )
                )
        return records


NAME: Final = "__main__.nothing"


def fastest(measures: dict[str, Measure], rounds: int) -> dict[str, float]:
    """Run all in turns; the fastest of each, in microseconds."""
    best = dict.fromkeys(measures, float("inf"))
    for _ in range(rounds):
        for name, measure in measures.items():
            best[name] = min(best[name], measure() * 1e6)
    return best


def machine() -> list[str]:
    """Say what it was measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    versions = [f"{name} {metadata.version(name)}" for name in PACKAGES]
    return [
        f"{model}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, {', '.join(versions)}",
    ]


def main() -> None:
    """Print the figures."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    # A consumer's main process forks before anything else runs.
    relay, bare, floor = Main(), Queue(None), Floor(ALWAYS_ON)
    sampled, unsampled = Queue(ALWAYS_ON), Queue(ALWAYS_OFF)
    best = fastest(
        {
            "forks": relay.of_processes,
            "threads": relay.of_threads,
            "bare.produce": bare.produce,
            "floor.produce": floor.produce,
            "sampled.produce": sampled.produce,
            "unsampled.produce": unsampled.produce,
            "bare.work": bare.work,
            "floor.work": floor.work,
            "sampled.work": sampled.work,
            "unsampled.work": unsampled.work,
        },
        rounds,
    )
    lines = machine()
    lines.append(f"fastest of {rounds} rounds, in µs of CPU")
    for side, title in (("work", "worker side"), ("produce", "producer side")):
        bare_one, floor_one = best[f"bare.{side}"], best[f"floor.{side}"]
        ours = best[f"sampled.{side}"] - bare_one
        lines.append(
            f"{title:14} {ours / floor_one:.2f} x the bare SDK:"
            f" ({best[f'sampled.{side}']:.1f} - {bare_one:.1f} of bare huey)"
            f" / {floor_one:.1f};"
            f" not sampled {best[f'unsampled.{side}'] - bare_one:.1f}"
        )
    lines.append(
        f"{'relay':14} {best['forks']:.1f} an event of a forked worker's,"
        f" {best['threads']:.1f} of a thread's, with all sinks"
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
