"""The stage: a real Redis, a sink for spans, and producers and consumers on them."""

import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis

from benchmarks import variants
from benchmarks.children import Child, cpu
from benchmarks.gates import DONE, GO, READY
from tests.support.redis_server import RedisServer

_PATIENCE: Final = 60
"""Seconds for one round, at most."""

_NUMBERS: Final = itertools.count(1)


class Stage:
    """Redis and the sink for spans, which all variants share."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.place = place
        self.log = place / "stage.log"
        self.redis = stack.enter_context(RedisServer())
        self.client = redis.Redis.from_url(self.redis.url, socket_timeout=None)
        stack.callback(self.client.close)
        self.sink = Child("benchmarks.sink", log=self.log)
        stack.callback(self.sink.end)
        self.port = self.sink.ask("port")["port"]

    def spans(self, queue: str) -> int:
        """How many spans of *queue* have arrived."""
        return int(self.sink.ask("spans").get(queue, 0))


@contextmanager
def stage(place: Path) -> Iterator[Stage]:
    """Start a stage, and end it after the block."""
    with ExitStack() as stack:
        yield Stage(place, stack)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round took: wall seconds, and CPU seconds by process."""

    wall: float
    producer: float
    consumer: float
    redis: float
    family: float
    """CPU seconds of the consumer and its worker processes."""
    worker: int
    """The process id of the worker that did the last task."""

    @property
    def cpu(self) -> float:
        """CPU seconds of all processes except the sink."""
        return self.producer + self.consumer + self.redis


class Pair:
    """A producer and a consumer of one variant, with a queue of their own."""

    def __init__(
        self, stage: Stage, variant: str, kind: str, workers: int, **environ: str
    ) -> None:
        self.variant = variant
        self.queue = f"bench_{next(_NUMBERS)}"
        self.tasks = 0
        self._stage = stage
        self._workers = workers
        environ |= variants.SAMPLERS.get(variant, {}) | {
            "BENCH_VARIANT": variant,
            "BENCH_QUEUE": self.queue,
            "BENCH_URL": stage.redis.url,
            "BENCH_PLACE": str(stage.place),
            "HUEY_OTEL_METRICS_PORT": "0",
        }
        if variant in variants.SAMPLERS:
            where = f"http://127.0.0.1:{stage.port}/{self.queue}"
            environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = where
        of_consumer = ("consumer", kind, str(workers))
        actor = "benchmarks.actor"
        self.consumer = Child(actor, *of_consumer, log=stage.log, **environ)
        self.producer = Child(actor, "producer", log=stage.log, **environ)

    def run(self, task: str, number: int) -> Round:
        """Enqueue *task* *number* times, then let the workers execute them."""
        client = self._stage.client
        producer, consumer = self._settled()
        of_redis = cpu(self._stage.redis.pid)
        self._enqueue("gate", self._workers)
        for _ in range(self._workers):
            self._popped(READY)
        self._enqueue(task, number)
        self._enqueue("mark", 1)
        of_family = self._family()
        began = time.perf_counter()
        client.rpush(GO, *range(self._workers))
        worker = int(self._popped(DONE))
        wall = time.perf_counter() - began
        producer_now, consumer_now = self._settled()
        return Round(
            wall=wall,
            producer=producer_now - producer,
            consumer=consumer_now - consumer,
            redis=cpu(self._stage.redis.pid) - of_redis,
            family=self._family() - of_family,
            worker=worker,
        )

    def check(self) -> None:
        """Raise unless telemetry has reported all tasks, and all spans have arrived."""
        expected = {
            variants.BARE: 0,
            # Both sides count all rows, which are three for a task.
            variants.STATS: 6 * self.tasks,
        }.get(self.variant, self.tasks)
        told, lost = self._told()
        deadline = time.monotonic() + _PATIENCE
        # The last task reports its end slightly before it ends.
        while told != expected and time.monotonic() < deadline:
            self._settled()
            time.sleep(0.1)
            told, lost = self._told()
        self.end()
        spans = self._stage.spans(self.queue)
        wanted = 2 * self.tasks if self.variant == variants.FULL else spans
        if (told, spans, lost) != (expected, wanted, {}):
            raise AssertionError(
                f"{self.variant}: {told} told of {expected}, {spans} spans of {wanted},"
                f" lost {lost}"
            )

    def _told(self) -> tuple[int, dict[str, int]]:
        told = 0
        lost: dict[str, int] = {}
        for side in (self.producer, self.consumer):
            said = side.ask("told")
            told += said["told"]
            lost |= said["lost"]
        return told, lost

    def end(self) -> None:
        """End producer and consumer."""
        self.producer.end()
        self.consumer.end()

    def _family(self) -> float:
        return sum(map(cpu, self.consumer.family))

    def _settled(self) -> tuple[float, float]:
        return self.producer.ask("settle")["cpu"], self.consumer.ask("settle")["cpu"]

    def _enqueue(self, task: str, number: int) -> None:
        self.producer.ask("enqueue", task=task, number=number)
        self.tasks += number

    def _popped(self, name: str) -> bytes | str:
        found = self._stage.client.blpop([name], timeout=_PATIENCE)
        if not isinstance(found, list | tuple):
            raise TimeoutError(f"{self.variant}: no {name} in {_PATIENCE} s")
        value: bytes | str = found[1]
        return value


@contextmanager
def pairs(
    stage: Stage, measured: Iterable[str], kind: str, workers: int, **environ: str
) -> Iterator[dict[str, Pair]]:
    """Make a Pair for each of *measured*, and check them after the block."""
    with ExitStack() as stack:
        made = {}
        for variant in measured:
            made[variant] = Pair(stage, variant, kind, workers, **environ)
            stack.callback(made[variant].end)
        yield made
        for pair in made.values():
            pair.check()
