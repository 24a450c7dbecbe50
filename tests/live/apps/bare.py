"""A queue that is not instrumented."""

import os

from huey import RedisHuey

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])


@huey.task()
def add(a, b):
    return a + b
