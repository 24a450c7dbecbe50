"""A queue whose tasks have a counter of their own, as in docs/metrics.md."""

import os

from huey import RedisHuey

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])

with open(os.environ["LIVE_BLOCK"]) as block:  # noqa: PTH123
    exec(block.read())


@huey.task()
def pack(size):
    ORDERS.labels(size).inc()  # noqa: F821 - the block has it
