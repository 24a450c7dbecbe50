"""A queue whose tasks and hooks declare metrics under our names."""

import os
import sys

from huey import RedisHuey
from prometheus_client import Counter, Gauge

from huey_otel import instrument

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)


@huey.on_startup()
def measure():
    Gauge("huey_workers", "The application's.")


@huey.task()
def look():
    Gauge("huey_queue_length", "The application's.").set(7)


@huey.task()
def fine():
    pass


if __name__ == "__main__":
    from prometheus_client import generate_latest

    from tests.live.apps import name_clashes

    name_clashes.look()
    Counter("huey_tasks_enqueued", "The application's.").inc(7)
    name_clashes.fine()
    page = generate_latest().decode()
    sys.stdout.write(f"----\n{page}")
