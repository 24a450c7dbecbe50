"""Five queues, one for each way to write messages; instrumented if it is told to.

`python -m tests.live.apps.fleet produce | consume`
"""

import json
import os
import sys

from huey import RedisHuey
from huey.serializer import SignedSerializer

try:
    from huey.serializer import Serializer
except ImportError:
    from huey.api import Serializer

SERIALIZERS = {
    "default": Serializer(),
    "gzip": Serializer(compression=True),
    "zlib": Serializer(compression=True, use_zlib=True),
    "signed": SignedSerializer(secret="secret"),
    "signedgzip": SignedSerializer(secret="secret", compression=True),
}

hueys = {
    name: RedisHuey(name, url=os.environ["LIVE_QUEUE_URL"], serializer=serializer)
    for name, serializer in SERIALIZERS.items()
}


def add(a, b):
    return a + b


def fail_first(a, b):
    # Each queue has the task of this name for itself.
    key = f"fail-first-{a}"
    if hueys["default"].storage.conn.incr(key) == 1:
        raise ValueError("not yet")
    return a + b


ADDERS = {name: huey.task()(add) for name, huey in hueys.items()}
FAILERS = {name: huey.task(retries=1)(fail_first) for name, huey in hueys.items()}


def produce():
    """Enqueue two tasks on each queue, and print their ids."""
    ids = {
        name: [ADDERS[name](40, 2).id, FAILERS[name](f"{name}-", "done").id]
        for name in hueys
    }
    print(json.dumps(ids))  # noqa: T201 - its output


def consume():
    """Run a consumer for each queue until standard input ends."""
    for huey in hueys.values():
        huey.create_consumer(periodic=False).start()
    print("started", flush=True)  # noqa: T201 - its output
    sys.stdin.read()


if __name__ == "__main__":
    if os.environ["LIVE_INSTRUMENTED"] == "yes":
        from huey_otel import instrument

        for each in hueys.values():
            instrument(each)
    {"produce": produce, "consume": consume}[sys.argv[1]]()
