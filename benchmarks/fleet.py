"""What a fleet of consumers of one queue costs its one Redis, and each consumer.

    python -m benchmarks.fleet [CONSUMERS] [SECONDS]

Real consumers with one thread each, first idle for so many SECONDS, then with TASKS
tasks that do nothing. Figures are CPU times: of Redis by its own account, of consumers
by the kernel's.
"""

import contextlib
import importlib
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import redis

from benchmarks.children import ROOT, cpu
from benchmarks.setting import described
from benchmarks.turns import table
from runtime.demo.processes import end, python
from tests.support.programs import free_port
from tests.support.redis_server import RedisServer

QUEUE: Final = "bench"
TASKS: Final = 5_000
PATIENCE: Final = 120.0
PAGES: Final = {"HUEY_OTEL_PUBLISH_METRICS": "on"}
STREAM: Final = {"HUEY_OTEL_STREAM": "on"}
SETTINGS: Final = {
    "bare huey": {"BENCH_VARIANT": "bare huey"},
    "metrics and events": {},
    "and pages": PAGES,
    "and the stream": PAGES | STREAM,
}


class Cost(NamedTuple):
    """CPU seconds."""

    redis: float
    consumers: float

    def over(self, before: "Cost") -> "Cost":
        """What was spent since *before*."""
        return Cost(self.redis - before.redis, self.consumers - before.consumers)


class Fleet:
    """Some consumers, and their Redis."""

    def __init__(self, server: RedisServer, ports: list[int], pids: list[int]) -> None:
        self.client = redis.Redis.from_url(server.url)
        self.url = server.url
        self.ports = ports
        self.pids = pids

    @property
    def spent(self) -> Cost:
        """What it has cost so far."""
        told = self.client.info("cpu")
        of_redis = told["used_cpu_user"] + told["used_cpu_sys"]
        return Cost(float(of_redis), sum(map(cpu, self.pids)))

    def commands(self) -> int:
        """How many commands Redis has got."""
        return int(self.client.info("stats")["total_commands_processed"])

    def wait(self, consumers: int) -> None:
        """Wait until so many *consumers* wait for a message."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.client.client_list()
            if sum(one["cmd"] == "brpop" for one in found) >= consumers:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all consumers wait after {PATIENCE:g} s")
            time.sleep(0.1)

    def scrape(self) -> None:
        """Scrape each consumer once."""
        for port in self.ports:
            address = f"http://127.0.0.1:{port}/metrics"
            with urllib.request.urlopen(address) as page:
                page.read()


@contextlib.contextmanager
def fleet(consumers: int, environ: dict[str, str]) -> Iterator[Fleet]:
    """So many consumers with *environ* within the block."""
    bare = environ.get("BENCH_VARIANT") == "bare huey"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(RedisServer())
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shared = {
            "BENCH_QUEUE": QUEUE,
            "BENCH_URL": server.url,
            "BENCH_VARIANT": "metrics and events",
            **environ,
        }
        ports, pids, running = [], [], []
        for _ in range(consumers):
            ports.append(free_port())
            started = stack.enter_context(
                python(
                    *("huey.bin.huey_consumer", "benchmarks.app.huey"),
                    *("-k", "thread", "-w", "1", "-n"),
                    directory=place,
                    env={**shared, "HUEY_OTEL_METRICS_PORT": str(ports[-1])},
                )
            )
            running.append(started)
            pids.append(started.pid)
        made = Fleet(server, [] if bare else ports, pids)
        made.wait(consumers)
        yield made
        made.client.close()
        for one in running:
            end(one)


def idle(made: Fleet, seconds: float) -> Cost:
    """What it costs for so many *seconds* without a task."""
    time.sleep(5)
    before = made.spent
    time.sleep(seconds)
    return made.spent.over(before)


def busy(made: Fleet) -> Cost:
    """What TASKS tasks cost, until all that they leave is delivered."""
    os.environ.update(BENCH_QUEUE=QUEUE, BENCH_URL=made.url, BENCH_VARIANT="bare huey")
    sys.modules.pop("benchmarks.app", None)
    # Again each time: its huey is of one Redis.
    app = importlib.import_module("benchmarks.app")
    before = made.spent
    for _ in range(TASKS):
        app.work(0)
    deadline = time.monotonic() + PATIENCE
    while app.huey.pending_count():
        if time.monotonic() > deadline:
            raise RuntimeError(f"tasks are left after {PATIENCE:g} s")
        time.sleep(0.1)
    # What is published, and the next page.
    time.sleep(6)
    return made.spent.over(before)


def exporter(made: Fleet) -> tuple[float, int]:
    """Milliseconds and bytes of a scrape of the exporter, the least of five."""
    from huey_otel._storage.emitter import RedisEventEmitter
    from huey_otel.cli.exporter.answers import Answers
    from huey_otel.cli.exporter.look import Look
    from huey_otel.cli.target import Queues

    answers = Answers(Look(Queues(RedisEventEmitter(url=made.url), (QUEUE,)), None))
    took, size = [], 0
    for _ in range(5):
        began = time.process_time()
        size = len(answers.get("/metrics", "").body)
        took.append(time.process_time() - began)
    return 1000 * min(took), size


def main() -> None:
    """Measure, and print."""
    consumers = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    os.chdir(ROOT)
    sys.stdout.write(f"{described()}\n\n")
    rows, exported = [], (0.0, 0)
    for name, environ in SETTINGS.items():
        with fleet(consumers, environ) as made:
            rest = idle(made, seconds)
            commands = made.commands()
            before = made.spent
            made.scrape()
            scraped = made.spent.over(before)
            commands = made.commands() - commands
            work = busy(made)
            if "HUEY_OTEL_PUBLISH_METRICS" in environ:
                exported = exporter(made)
        a_minute = 60 / seconds
        rows.append(
            [
                name,
                f"{rest.redis * a_minute:.2f}",
                f"{rest.consumers / consumers * a_minute:.3f}",
                f"{work.redis / TASKS * 1e6:.0f}",
                f"{work.consumers / TASKS * 1e6:.0f}",
                f"{commands}" if made.ports else "",
                f"{1000 * scraped.redis:.1f}" if made.ports else "",
            ]
        )
        sys.stderr.write(f"{rows[-1]}\n")
    head = [
        *(f"{consumers} consumers", "idle: Redis, s a minute", "each consumer"),
        *("busy: Redis, µs a task", "consumers, µs a task"),
        *("scrape of all: commands", "Redis, ms"),
    ]
    sys.stdout.write(table(head, rows) + "\n")
    took, size = exported
    sys.stdout.write(f"\nthe exporter's scrape: {took:.0f} ms, {size:,} bytes\n")


if __name__ == "__main__":
    main()
