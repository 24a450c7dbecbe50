"""A queue whose consumer's main process is slow to import what looks up a host."""

import os
import sys
import time

from huey import RedisHuey

from huey_otel import instrument

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
main = os.getpid()


class Slow:
    """Finds nothing, and takes its time."""

    @staticmethod
    def find_spec(name, *_):
        if name == "encodings.idna" and os.getpid() == main:
            time.sleep(0.3)


@huey.task()
def add(a, b):
    return a + b


if "LIVE_SLOW" in os.environ:
    sys.modules.pop("encodings.idna", None)
    sys.meta_path.insert(0, Slow)
