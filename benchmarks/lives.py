"""What Prometheus says of consumers that live for a few scrapes of the exporter.

    python -m benchmarks.lives [CONSUMERS]

So many consumers of each life, with a queue each, begin at moments of their own and do
TASKS_A_SECOND until they are told to end. The figures are what `increase()` over the
whole run says, and the last values, beside what their own ledgers say.
"""

import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.children import ROOT
from benchmarks.setting import described
from benchmarks.turns import table
from runtime.demo.processes import python
from tests.live.scraping import Prometheus
from tests.support.commands import Command
from tests.support.redis_server import RedisServer

SCRAPE: Final = 3.0
"""Seconds. A page is written each second, as each 5 s of the default of 15 s."""

LIVES: Final = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
"""In scrapes."""

TASKS_A_SECOND: Final = 10
NAME: Final = "huey_tasks_finished_total"


def consume(queue: str, url: str, seconds: float) -> None:
    """Be a consumer for so many *seconds* that enqueues its own tasks."""
    from huey import RedisHuey

    from huey_otel import instrument

    huey = RedisHuey(queue, url=url)
    instrument(huey, publish_metrics=1.0, metrics_port=None, events=None)
    done = 0

    def work() -> None:
        nonlocal done
        done += 1

    task = huey.task()(work)

    def enqueue() -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            task()
            time.sleep(1 / TASKS_A_SECOND)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=enqueue, daemon=True).start()
    huey.create_consumer(periodic=False, initial_delay=0.02).run()
    sys.stdout.write(f"{done}\n")


@contextlib.contextmanager
def exporter(url: str, queues: list[str]) -> Iterator[int]:
    """The exporter of *queues*; its port."""
    names = [one for queue in queues for one in ("--queue", queue)]
    where = ("--host", "127.0.0.1", "--port", "0")
    with Command("exporter", "--redis", url, *names, *where) as command:
        (line,) = command.said(" are served on ").err[:1]
        yield int(line.rpartition(":")[2].partition("/")[0])


def lived(consumers: int, url: str, directory: Path) -> dict[str, int]:
    """How many tasks each queue's consumer has done, once all have ended."""
    done: dict[str, int] = {}
    with contextlib.ExitStack() as stack:
        running = {}
        for number, life in enumerate([one for one in LIVES for _ in range(consumers)]):
            queue = f"q{number}"
            arguments = ("benchmarks.lives", "consume", queue, url, f"{life * SCRAPE}")
            started = python(*arguments, directory=directory, env={})
            running[queue] = stack.enter_context(started)
            time.sleep(random.uniform(0, SCRAPE))  # noqa: S311 - no secret
        for queue, one in running.items():
            output, _ = one.communicate()
            done[queue] = int(output)
    return done


def main() -> None:
    """Measure, and print."""
    if sys.argv[1:2] == ["consume"]:
        queue, url, seconds = sys.argv[2:]
        consume(queue, url, float(seconds))
        return
    consumers = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    os.chdir(ROOT)
    queues = [f"q{number}" for number in range(consumers * len(LIVES))]
    with (
        RedisServer() as server,
        tempfile.TemporaryDirectory() as place,
        exporter(server.url, queues) as port,
    ):
        directory = Path(place)
        began = time.monotonic()
        prometheus = Prometheus(directory / "prometheus", port, interval=f"{SCRAPE:g}s")
        prometheus.wait_until_ready()
        done = lived(consumers, server.url, directory)
        time.sleep(3 * SCRAPE)
        window = f"[{int(time.monotonic() - began) + 60}s]"
        told = {
            what: prometheus.values(f"sum by (queue) ({what}({NAME}{window}))", "queue")
            for what in ("increase", "last_over_time")
        }
        prometheus.clean_up()
    rows = []
    for place_of, life in enumerate(LIVES):
        mine = queues[place_of * consumers : (place_of + 1) * consumers]
        ledger = sum(done[queue] for queue in mine)
        shares = [told["increase"].get((queue,), 0.0) / done[queue] for queue in mine]
        last = sum(told["last_over_time"].get((queue,), 0.0) for queue in mine)
        rows.append(
            [
                f"{life:g}",
                f"{sum(shares) / len(shares):.0%}",
                f"{min(shares):.0%} to {max(shares):.0%}",
                f"{last / ledger:.1%}",
            ]
        )
    heads = ["scrapes", "increase()", "from, to", "last values"]
    sys.stdout.write(f"{described()}\n\n{table(heads, rows)}\n")


if __name__ == "__main__":
    main()
