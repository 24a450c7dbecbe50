"""Tasks of five sizes, which take as long as they are told."""

import os
import time

from huey import RedisHuey

from huey_otel import instrument

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)

SECONDS = (0.011, 0.07, 0.3, 1.6, 9.0)


def sleep(seconds):
    time.sleep(seconds)


TASKS = {size: huey.task(name=f"sleep_{size * 1000:.0f}ms")(sleep) for size in SECONDS}
"""A task for each size, in seconds."""
