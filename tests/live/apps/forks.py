"""A queue whose tasks fork; some children outlive task and consumer."""

import os
import time

from huey import RedisHuey

from huey_otel import instrument
from tests.live.apps.losses import report_at_exit

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
report_at_exit(instrumentation)


@huey.task()
def add(a, b):
    return a + b


@huey.task()
def fork(number):
    """Fork once, and enqueue *number* tasks there."""
    pid = os.fork()
    if not pid:
        for _ in range(number):
            add(1, 2)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@huey.task()
def leave_a_child():
    """Leave a child behind that enqueues one task at a signal, and ends."""
    if not os.fork():
        huey.storage.conn.lpush("left", os.getpid())
        # redis-py 8 would wait for 5 s only.
        while huey.storage.conn.lpop("go") is None:
            time.sleep(0.05)
        add(3, 4)
        huey.storage.conn.lpush("done", os.getpid())
        os._exit(0)
    time.sleep(0)
