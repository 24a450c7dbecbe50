"""The stage: a real Redis, a sink for telemetry, and producers and consumers on them.

Where there are two processors, all that is measured with one worker runs on one of
them, and everything else on the other: which of both a process runs on would else
move its figures by half.
"""

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import redis

from benchmarks import variants
from benchmarks.children import REST, WORKER, Child, cpu, pin
from benchmarks.gates import DONE, GO, READY
from tests.support.redis_server import RedisServer

_PATIENCE: Final = 120
"""Seconds for one round, at most."""

_NUMBERS: Final = itertools.count(1)


class Stage:
    """Redis and the sink for telemetry, which all variants share."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        self.place = place
        self.log = place / "stage.log"
        pin(os.getpid(), REST)
        self.redis = stack.enter_context(RedisServer())
        pin(self.redis.pid, REST)
        self.client = redis.Redis.from_url(self.redis.url, socket_timeout=None)
        stack.callback(self.client.close)
        self.sink = Child("benchmarks.sink", log=self.log)
        stack.callback(self.sink.end)
        self.port = self.sink.ask("port")["port"]

    def arrived(self, queue: str) -> int:
        """How many spans or transactions of *queue* have arrived."""
        return int(self.sink.ask("arrived").get(queue, 0))


@contextmanager
def stage(place: Path) -> Iterator[Stage]:
    """Start a stage, and end it after the block."""
    with ExitStack() as stack:
        yield Stage(place, stack)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round took: wall seconds, and CPU seconds by process.

    From one moment at which everything was delivered to the next one.
    """

    tasks: int
    wall: float
    """Of the workers, from the first task to the last."""
    producer: float
    consumer: float
    redis: float
    worker: int
    """The process id of the worker that did the last task."""

    def less(self, empty: "Round") -> "Round":
        """The same without the CPU of a round that has only its gates and mark."""
        return replace(
            self,
            producer=self.producer - empty.producer,
            consumer=self.consumer - empty.consumer,
            redis=self.redis - empty.redis,
        )


class Pair:
    """A producer and a consumer of one variant, with a queue of their own."""

    def __init__(self, stage: Stage, variant: str, kind: str, workers: int) -> None:
        self.variant = variant
        self.queue = f"bench_{next(_NUMBERS)}"
        self.tasks = 0
        self._stage = stage
        self._workers = workers
        environ = variants.SAMPLERS.get(variant, {}) | {
            "BENCH_VARIANT": variant,
            "BENCH_QUEUE": self.queue,
            "BENCH_URL": stage.redis.url,
            "BENCH_PLACE": str(stage.place),
            "BENCH_SENTRY": f"http://key@127.0.0.1:{stage.port}/{self.queue}/1",
            "HUEY_OTEL_METRICS_PORT": "0",
        }
        if variant in variants.SAMPLERS:
            where = f"http://127.0.0.1:{stage.port}/{self.queue}"
            environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = where
        of_consumer = ("consumer", kind, str(workers))
        actor = "benchmarks.actor"
        self.consumer = Child(actor, *of_consumer, log=stage.log, **environ)
        pin(self.consumer.pid, WORKER if workers == 1 else None)
        self.producer = Child(actor, "producer", log=stage.log, **environ)

    def run(self, number: int, milliseconds: float = 0) -> Round:
        """Enqueue *number* tasks that wait *milliseconds*, then let them be worked off.

        The workers wait meanwhile, and until the producer has delivered, too.
        """
        client = self._stage.client
        producer, consumer = self._settled()
        of_redis = cpu(self._stage.redis.pid)
        self.producer.ask(
            "enqueue", workers=self._workers, milliseconds=milliseconds, number=number
        )
        self.tasks += self._workers + number + 1
        producer_now = self.producer.ask("settle")["cpu"]
        for _ in range(self._workers):
            self._popped(READY)
        began = time.perf_counter()
        client.rpush(GO, *range(self._workers))
        worker = int(self._popped(DONE))
        wall = time.perf_counter() - began
        consumer_now = self.consumer.ask("settle")["cpu"]
        return Round(
            tasks=number,
            wall=wall,
            producer=producer_now - producer,
            consumer=consumer_now - consumer,
            redis=cpu(self._stage.redis.pid) - of_redis,
            worker=worker,
        )

    def check(self) -> None:
        """Raise unless telemetry has reported all tasks, and all of it has arrived."""
        all_told = {
            variants.BARE: 0,
            # What arrives says it.
            variants.SENTRY: 0,
            # Both sides count all rows, which are three for a task.
            variants.STATS: 6 * self.tasks,
        }.get(self.variant, self.tasks)
        all_arrived = {variants.FULL: 2 * self.tasks, variants.SENTRY: self.tasks}
        deadline = time.monotonic() + _PATIENCE
        told, lost = self._told()
        # The last task reports its end slightly before it ends.
        while told != all_told and time.monotonic() < deadline:
            self._settled()
            time.sleep(0.1)
            told, lost = self._told()
        self.end()
        arrived = self._stage.arrived(self.queue)
        wanted = all_arrived.get(self.variant, arrived)
        if (told, arrived, lost) != (all_told, wanted, {}):
            raise AssertionError(
                f"{self.variant}: {told} told of {all_told}, {arrived} arrived of "
                f"{wanted}, lost {lost}"
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

    def _settled(self) -> tuple[float, float]:
        return self.producer.ask("settle")["cpu"], self.consumer.ask("settle")["cpu"]

    def _popped(self, name: str) -> bytes | str:
        found = self._stage.client.blpop([name], timeout=_PATIENCE)
        if not isinstance(found, list | tuple):
            raise TimeoutError(f"{self.variant}: no {name} in {_PATIENCE} s")
        value: bytes | str = found[1]
        return value


@contextmanager
def pairs(
    stage: Stage, measured: Iterable[str], kind: str, workers: int
) -> Iterator[dict[str, Pair]]:
    """Make a Pair for each of *measured*, and check them after the block."""
    with ExitStack() as stack:
        made = {}
        for variant in measured:
            made[variant] = Pair(stage, variant, kind, workers)
            stack.callback(made[variant].end)
        yield made
        for pair in made.values():
            pair.check()
