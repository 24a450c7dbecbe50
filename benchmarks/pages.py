"""What metrics pages cost: to make one, to write it, and to show those of a fleet.

Each task has succeeded, failed and been retried. Figures are the least of several
runs, in milliseconds of CPU; memory is what the exporter's process grew by.
"""

import resource
import sys
import time
from collections.abc import Callable

import redis

from benchmarks.scrape import least, timed
from benchmarks.turns import table
from huey_otel._prometheus.collector import Collector
from huey_otel._prometheus.own_page import own_page
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel._wire.page import LIFETIME, Head, index_of, key_of, pack
from huey_otel.cli.exporter.answers import Answers
from huey_otel.cli.exporter.look import Look
from huey_otel.cli.target import Queues
from tests.support.metrics import live_tasks
from tests.support.redis_server import RedisServer

SIZES = (14, 100, 500)
FLEETS = ((1, 14), (20, 100), (40, 100), (40, 500))
"""Consumers, and the tasks of each."""

HEAD = Head("shop", "web-1:7", 5.0, "0.1.0")


def page_of(tasks: int) -> tuple[str, Callable[[], bytes]]:
    """The text of a page of *tasks*, and what makes the page again."""
    collector = Collector()
    live_tasks(collector, tasks, tasks)

    def text() -> str:
        return own_page(collector, lambda _: True, gauges=True)

    return text(), lambda: pack(HEAD, text())


def making() -> list[list[str]]:
    """What a page costs its consumer."""
    rows = []
    for tasks in SIZES:
        text, make = page_of(tasks)
        rows.append(
            [
                f"{tasks}",
                f"{len(text) / 1000:,.0f} kB",
                f"{len(make()) / 1000:,.0f} kB",
                f"{least(timed(make)):.1f}",
            ]
        )
    return rows


def leave(client: redis.Redis, number: int, page: bytes) -> None:
    """What a consumer sends for a page."""
    publisher = f"web-{number}:7:1"
    with client.pipeline(transaction=False) as pipeline:
        pipeline.set(key_of("shop", publisher), page, ex=LIFETIME)
        pipeline.zadd(index_of("shop"), {publisher: number})
        pipeline.zremrangebyscore(index_of("shop"), "-inf", -1)
        pipeline.expire(index_of("shop"), LIFETIME)
        pipeline.execute()


def of_redis(client: redis.Redis, do: Callable[[], object]) -> float:
    """Milliseconds of CPU that the server spends while *do* runs."""

    def spent() -> float:
        told = client.info("cpu")
        return float(told["used_cpu_user"] + told["used_cpu_sys"])

    before = spent()
    do()
    return 1000 * (spent() - before)


def showing(server: RedisServer) -> list[list[str]]:
    """What a scrape of the exporter costs it, by the size of the fleet."""
    rows = []
    with redis.Redis.from_url(server.url) as client:
        for consumers, tasks in FLEETS:
            client.flushall()
            text, _ = page_of(tasks)
            for number in range(consumers):
                head = HEAD._replace(consumer=f"web-{number}:7")
                leave(client, number, pack(head, text))
            target = Queues(RedisEventEmitter(url=server.url), ("shop",))
            answers = Answers(Look(target, None))
            size = len(answers.get("/metrics", "").body)

            def scrape(answers: Answers = answers) -> object:
                return answers.get("/metrics", "")

            def queues(answers: Answers = answers) -> object:
                return answers.get("/queues", "")

            rows.append(
                [
                    f"{consumers} x {tasks}",
                    f"{size / 1e6:,.1f} MB",
                    f"{least(timed(scrape)):,.0f}",
                    f"{least(timed(queues)):,.0f}",
                    f"{of_redis(client, scrape):,.0f}",
                    f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB",
                ]
            )
    return rows


def writing(server: RedisServer) -> float:
    """Milliseconds of Redis' CPU for a page of 100 tasks."""
    _, make = page_of(100)
    page, pages = make(), 1_000

    with redis.Redis.from_url(server.url) as client:

        def write() -> None:
            for number in range(pages):
                leave(client, number % 40, page)

        return min(of_redis(client, write) for _ in range(3)) / pages


def main() -> None:
    """Measure, and print."""
    began = time.monotonic()
    head = ["tasks that ran", "text", "page", "to make, ms"]
    sys.stdout.write(table(head, making()) + "\n")
    with RedisServer() as server:
        head = [
            *("consumers x tasks", "exporter's page", "a scrape, ms", "/queues, ms"),
            *("Redis, ms", "most memory so far"),
        ]
        sys.stdout.write("\n" + table(head, showing(server)) + "\n")
        sys.stdout.write(
            f"\na write of 100 tasks' page: {writing(server):.3f} ms of Redis\n"
        )
    sys.stdout.write(f"{time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
