"""A queue on Redis, with a task for each way to end."""

import os
import time

from huey import CancelExecution, RedisHuey, RetryTask, crontab
from huey.contrib.helpers import lock_task_semaphore

from huey_otel import instrument
from tests.live.apps.losses import report_at_exit


class Queue(RedisHuey):
    """A user's own kind of huey, which takes its time over `stuck`."""

    def is_revoked(self, task, *args):
        if getattr(task, "name", "") == "stuck":
            self.storage.conn.lpush("stuck-in", os.getpid())
            time.sleep(60)
        return super().is_revoked(task, *args)


huey = Queue("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
report_at_exit(instrumentation)


def is_first(key):
    """Whether this is the first run that asks about *key*."""
    return huey.storage.conn.incr(f"runs-{key}") == 1


@huey.task()
def add(a, b):
    return a + b


@huey.task(retries=1)
def fail_first(key):
    if is_first(key):
        raise ValueError("not yet")


@huey.task(retries=1, retry_delay=1)
def fail_first_and_wait(key):
    if is_first(key):
        raise ValueError("not yet")


@huey.task(retries=1)
def fail(word):
    raise ValueError(word)


@huey.task()
def ask_for_retry(key):
    if is_first(key):
        raise RetryTask("later")


@huey.task()
def lock():
    with huey.lock_task("the-lock"):
        return True


@huey.task()
@lock_task_semaphore(huey, "the-semaphore", 0)
def find_no_room():
    return True


@huey.task()
def cancel():
    raise CancelExecution


@huey.task()
def sleep(seconds):
    time.sleep(seconds)


@huey.task()
def stuck():
    return True


@huey.periodic_task(crontab(minute="*"))
def tick():
    return True


# huey has time limits from 3.0 on.
if hasattr(huey, "rate_limit"):

    @huey.task(timeout=0.2, context=True)
    def overrun(task):
        while True:
            task.check_timeout()
            time.sleep(0.01)

    @huey.task()
    def limited():
        with huey.rate_limit("the-limit", 0, per=60, retry=False):
            return True


@huey.task()
def fork():
    pid = os.fork()
    if not pid:
        add(1, 2)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


@huey.task()
def leave_a_child():
    # The child has all that the worker has open, for as long as it lives.
    os.fork()
    time.sleep(60)
