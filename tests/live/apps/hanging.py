"""A queue whose consumer can be made to hang, or to look as if it did.

LIVE_QUEUE names the kind of queue. While the file LIVE_PAUSE exists no worker takes a
message; once LIVE_ASLEEP exists, no worker of a queue that is polled wakes up again.
LIVE_PATCH lets gevent patch first.
"""

import os

if os.environ.get("LIVE_PATCH"):
    from gevent import monkey

    monkey.patch_all()

import threading
import time
from pathlib import Path

from huey import PriorityRedisHuey, RedisHuey, SqliteHuey
from huey.consumer import Consumer, Worker

from huey_otel import instrument
from tests.support.recorded import EARLIER

URL = {"url": os.environ["LIVE_QUEUE_URL"]}
QUEUES = {
    "blocking": (RedisHuey, URL),
    "polling": (RedisHuey, URL | {"blocking": False}),
    "priority": (PriorityRedisHuey, URL),
    "sqlite": (SqliteHuey, {"filename": os.environ.get("LIVE_DATABASE")}),
}
KIND, SETTINGS = QUEUES[os.environ.get("LIVE_QUEUE", "blocking")]


def is_there(name):
    return name in os.environ and Path(os.environ[name]).exists()


class Pausing(KIND):
    """A user's own kind of huey, which may be paused."""

    def dequeue(self):
        if is_there("LIVE_PAUSE"):
            time.sleep(0.1)
            return None
        return super().dequeue()


class Weary(Worker):
    """A user's own kind of worker."""

    def sleep(self):
        if is_there("LIVE_ASLEEP"):
            threading.Event().wait()
        super().sleep()


Consumer.worker_class = Weary
LOCK = threading.Lock()
huey = Pausing("live", **SETTINGS)
instrumentation = instrument(huey)


@huey.task()
def work():
    """A task that does nothing."""


@huey.task()
def last(seconds):
    """Take *seconds* in which the process is not stopped."""
    for _ in range(int(seconds * 20)):
        time.sleep(0.05)


@huey.task()
def lock_up():
    """Wait for ever for a lock that a task holds which waits for it as well."""
    with LOCK, LOCK:
        pass


def put_off(number):
    """Put *number* tasks on the schedule that are due already."""
    due = EARLIER
    storage, score = huey.storage, huey.storage.convert_ts(due)
    for start in range(0, number, 1000):
        messages = [
            huey.serialize_task(work.s(eta=due))
            for _ in range(start, min(number, start + 1000))
        ]
        storage.conn.zadd(storage.schedule_key, dict.fromkeys(messages, score))
