"""A queue beside an application's own collector; its tasks share the lock."""

import os
import threading
import time

from huey import RedisHuey
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily

from huey_otel import instrument

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
registry = CollectorRegistry()
instrumentation = instrument(huey, registry=registry)
LOCK = threading.Lock()
DONE = Counter("shop_done", "What the tasks did.", ["number"], registry=registry)


class Stock:
    """Waits for something slow, with the lock held."""

    def collect(self):
        with LOCK:
            time.sleep(0.005)
        yield GaugeMetricFamily("shop_stock", "What is left.", value=1)


registry.register(Stock())


@huey.task()
def take(number):
    with LOCK:
        DONE.labels(str(number % 100)).inc()
