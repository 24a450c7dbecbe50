"""A queue whose main process takes long to import Python's host look-up."""

import os
import sys
import time

main = os.getpid()


class Slow:
    """Finds no module, after a while."""

    @staticmethod
    def find_spec(name, *_):
        if name == "encodings.idna" and os.getpid() == main:
            time.sleep(0.3)


if "LIVE_SLOW" in os.environ:
    sys.meta_path.insert(0, Slow)

from huey import RedisHuey  # noqa: E402

from huey_otel import instrument  # noqa: E402

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)


@huey.task()
def add(a, b):
    return a + b
