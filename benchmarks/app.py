"""The application that is measured on Redis.

A round is `gate` for each worker, then the tasks that count, then `mark`: the queue
is full before the workers are let through, and they say when they are done.
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
    """Hold this worker until it is let through."""
    huey.storage.conn.rpush(READY, 1)
    # In turns, as a connection has a time limit of its own.
    while not huey.storage.conn.blpop(GO, timeout=1):
        pass


@huey.task()
def mark() -> None:
    """Say that all before this is done, and in which process."""
    huey.storage.conn.rpush(DONE, os.getpid())


@huey.task()
def nothing() -> None:
    """Do nothing."""


@huey.task()
def sleep() -> None:
    """Wait for 1 ms."""
    time.sleep(0.001)


@huey.task()
def compute() -> None:
    """Use 1 ms of CPU."""
    enough = time.thread_time() + 0.001
    while time.thread_time() < enough:
        pass


TASKS = {
    "gate": gate,
    "mark": mark,
    "nothing": nothing,
    "sleep": sleep,
    "compute": compute,
}
