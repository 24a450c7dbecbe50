"""Five queues, one for each way to write messages; instrumented if it is told to.

`python -m tests.live.apps.fleet produce | consume`
"""

import json
import os
import signal
import sys
import time

from huey import RedisHuey
from huey.serializer import Serializer, SignedSerializer

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
    """Enqueue two tasks on each queue, and print their ids and what they return."""
    made = {}
    for name in hueys:
        ids = ADDERS[name](40, 2).id, FAILERS[name](f"{name}-", "done").id
        made[name] = dict(zip(ids, (42, f"{name}-done"), strict=True))
    for name, expected in made.items():
        for task_id, value in expected.items():
            # The first attempt leaves its error there, with huey 2.
            wait_for(hueys[name], task_id, value)
    print(json.dumps({name: list(expected) for name, expected in made.items()}))  # noqa: T201


def wait_for(huey, task_id, value):
    deadline = time.monotonic() + 60
    while (found := huey.get(task_id, peek=True)) != value:
        if time.monotonic() > deadline:
            raise AssertionError(f"{huey.name}: {found!r}, not {value!r}")
        time.sleep(0.01)


def consume():
    """Run a consumer for each queue until a signal comes."""
    for huey in hueys.values():
        huey.create_consumer(periodic=False).start()
    signal.pause()


if __name__ == "__main__":
    if os.environ["LIVE_INSTRUMENTED"] == "yes":
        from huey_otel import instrument

        for each in hueys.values():
            instrument(each)
    {"produce": produce, "consume": consume}[sys.argv[1]]()
