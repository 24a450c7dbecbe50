"""A queue of any kind, for `huey-otel check`; the environment says which."""

import json
import os

if os.environ.get("LIVE_PATCH"):
    from gevent import monkey

    monkey.patch_all()

import time

import huey as _huey
from huey import consumer as huey_consumer
from huey import crontab
from opentelemetry.sdk.trace import TracerProvider
from redis.sentinel import Sentinel

from huey_otel import instrument

KIND = os.environ.get("LIVE_HUEY", "RedisHuey")
QUEUE = os.environ.get("LIVE_QUEUE", "live")
MADE = json.loads(os.environ.get("LIVE_HUEY_OPTIONS", "{}"))
if "LIVE_SENTINEL" in os.environ:
    SENTINEL = Sentinel([("127.0.0.1", int(os.environ["LIVE_SENTINEL"]))])
    MADE["connection_pool"] = SENTINEL.master_for("jobs").connection_pool
elif "Redis" in KIND:
    MADE["url"] = os.environ["LIVE_QUEUE_URL"]

huey = getattr(_huey, KIND)(QUEUE, **MADE)
if os.environ.get("LIVE_BARE"):
    instrumentation = None
else:
    OPTIONS = json.loads(os.environ.get("LIVE_OPTIONS", "{}"))
    # Otherwise each check has a note that spans are off.
    if not any(name.startswith("OTEL_") for name in os.environ):
        OPTIONS["tracer_provider"] = TracerProvider(shutdown_on_exit=False)
    instrumentation = instrument(huey, **OPTIONS)


@huey.task()
def add(a, b):
    return a + b


@huey.task()
def sleep(seconds):
    time.sleep(seconds)


@huey.task(retries=3, retry_delay=3600)
def fail():
    raise ValueError("no")


if os.environ.get("LIVE_PERIODIC") == "often":
    huey_consumer.Scheduler.periodic_task_seconds = 1
if os.environ.get("LIVE_PERIODIC"):

    @huey.periodic_task(crontab(minute="0", hour="3"))
    def nightly(): ...
