"""A queue that works for long: each task leaves one line at its end, and no result."""

import json
import os
import sys
import time
from multiprocessing import util
from pathlib import Path

import redis
from huey import RedisHuey
from prometheus_client import generate_latest

from huey_otel import instrument

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
LEDGER = os.environ["LIVE_LEDGER"]
MOST_QUEUED = 2_000


def write(name, line):
    end = os.open(f"{LEDGER}-{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(end, f"{line}\n".encode())
    finally:
        os.close(end)


@huey.task()
def work(number):
    write("ran", number)
    if number % 100 == 0:
        raise ValueError(number)


def produce(tasks):
    """Enqueue *tasks* numbers, and write down what Redis would not take."""
    for number in range(1, tasks + 1):
        try:
            while number % 50 == 0 and len(huey) > MOST_QUEUED:
                time.sleep(0.05)
            work(number)
        except redis.RedisError:
            # Redis may have taken it before the connection broke.
            write("refused", number)
            time.sleep(0.2)


def report():
    """Leave what the consumer has counted and lost."""
    told = {
        "losses": dict(instrumentation.dropped),
        "page": generate_latest().decode(),
    }
    Path(f"{LEDGER}-report-{os.getpid()}").write_text(json.dumps(told))


# Behind huey_otel's own finalizers; a fork forgets it.
util.Finalize(None, report, exitpriority=-200)

if __name__ == "__main__":
    from tests.live.apps.soak import produce as produce_of_the_module

    produce_of_the_module(int(sys.argv[1]))
