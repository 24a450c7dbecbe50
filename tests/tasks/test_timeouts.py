"""A task's timeout is raised at any bytecode, so also inside of our code."""

import gc
import threading
import time

import huey.exceptions
import pytest
from prometheus_client import CollectorRegistry

from huey_otel import instrument
from huey_otel._tasks.context import HERE
from tests.support.timeouts import alarm, untraced

pytestmark = pytest.mark.skipif(
    not hasattr(huey.exceptions, "TaskTimeout"), reason="huey 2 has no timeouts"
)

TIMES = 100


def test_each_timeout_is_honoured_while_the_task_enqueues(huey, seen):
    # A memory queue: a timeout in the middle of a reply of Redis, or of a
    # transaction of SQLite, breaks these for huey without us as well.
    huey._timeout_handler = alarm()
    spun = []

    @huey.task()
    def nothing(): ...

    @huey.task(timeout=0.02)
    def enqueue_for_ever():
        began = time.monotonic()
        while time.monotonic() - began < 0.5:
            nothing()
        spun.append("not honoured")

    # The first enqueue imports, and an alarm in an import leaves files unclosed.
    nothing()
    # What it raises in a destructor is lost; other tests may have left some.
    gc.collect()
    with untraced():
        for _ in range(TIMES):
            huey.execute(enqueue_for_ever.s())

    ends = [e["status"] for e in seen.events if e["task"] == "enqueue_for_ever"]
    assert spun == []
    assert ends == ["started", "timeout", "ended"] * TIMES
    here = HERE.local.doing
    assert (here.requeued, here.attempts, here.outgoing) == (None, [], None)


def test_a_timeout_within_a_count_comes_after_the_count(huey):
    huey._timeout_handler = alarm()
    registry = CollectorRegistry()
    instrument(huey, registry=registry)

    @huey.task()
    def nothing(): ...

    @huey.task(timeout=0.05)
    def enqueue():
        nothing()

    nothing()
    (producer,) = registry._collector_to_names
    (count,) = producer._collector._children.values()
    # prometheus_client's own lock, which another thread may hold for long.
    count._value._lock.acquire()
    release = threading.Timer(0.3, count._value._lock.release)
    release.start()
    huey.execute(enqueue.s())
    release.join()

    assert count._value.get() == 2
