"""A queue that is instrumented after its consumer is made, or while it runs.

Arguments: the order, and the type of worker. Prints the result as JSON.
"""

import json
import os
import sys

if "greenlet" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import huey.consumer
from huey import RedisHuey
from prometheus_client import REGISTRY

from huey_otel import instrument

order, kind = sys.argv[1:]
QUICK = {"workers": 1, "worker_type": kind, "initial_delay": 0.01, "max_delay": 0.05}

huey_ = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])


@huey_.task()
def add(a, b):
    return a + b


def metric(name, **labels):
    return REGISTRY.get_sample_value(name, {"queue": "live", **labels})


said = {}
if order == "instrumented, then made by its class":
    instrument(huey_)
    consumer = huey.consumer.Consumer(huey_, **QUICK)
else:
    consumer = huey_.create_consumer(**QUICK)
if order == "running, then instrumented":
    consumer.start()
    add(0, 0).get(blocking=True, timeout=60)
if order != "instrumented, then made by its class":
    try:
        instrument(huey_)
    except RuntimeError as error:
        said["refused"] = str(error)
        said["touched"] = type(huey_) is not RedisHuey
if order != "running, then instrumented":
    consumer.start()
for number in (1, 2):
    add(number, 1).get(blocking=True, timeout=60)
consumer.stop(graceful=True)
if "refused" not in said:
    instrument(huey_).flush(60)
    said["workers"] = metric("huey_workers", worker_type=kind)
    said["succeeded"] = metric(
        "huey_tasks_finished_total", task="__main__.add", outcome="success"
    )
sys.stdout.write(f"{json.dumps(said)}\n")
