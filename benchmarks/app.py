"""The application that is measured on Redis.

A round is one `gate` for each worker, then the measured tasks, then one `mark`. The
gates hold the workers until the queue is full; the mark ends the measurement.
"""

import os
import time

from huey import RedisHuey

from benchmarks import variants
from benchmarks.gates import DONE, GO, READY

huey = RedisHuey(os.environ["BENCH_QUEUE"], url=os.environ["BENCH_URL"])
watched = variants.watch(os.environ["BENCH_VARIANT"], huey)


@huey.task()
def gate() -> None:
    """Hold this worker until the round begins."""
    huey.storage.conn.rpush(READY, 1)
    # Repeatedly, because the connection times out as well.
    while not huey.storage.conn.blpop(GO, timeout=1):
        pass


@huey.task()
def mark() -> None:
    """Report that all tasks before this one are done, and the process that did it."""
    huey.storage.conn.rpush(DONE, os.getpid())


@huey.task()
def work(milliseconds: float) -> None:
    """Wait, as a task does for a database or another service."""
    if milliseconds:
        time.sleep(milliseconds / 1000)
