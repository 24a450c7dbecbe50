"""A task's timeout is raised at any bytecode, so also inside of our code."""

import gc
import time

import huey.exceptions
import pytest

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
