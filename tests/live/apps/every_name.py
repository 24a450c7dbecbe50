"""A queue whose tasks make every span and every event there is.

`main()` enqueues them; a consumer with worker processes runs them.
"""

import datetime
import os
import signal
import time

from huey import CancelExecution, PriorityRedisHuey, RetryTask, api, crontab

from huey_otel import instrument

PAST = datetime.datetime(2000, 1, 1)  # noqa: DTZ001 - huey's times are naive


class Queue(PriorityRedisHuey):
    """Its storage refuses a few things."""

    def add_schedule(self, task):
        if task.name == "postpone":
            raise ConnectionError("no room")
        return super().add_schedule(task)

    def is_revoked(self, task, *arguments):
        if getattr(task, "name", "") == "forget":
            raise ConnectionError("not to be read")
        return super().is_revoked(task, *arguments)

    def read_schedule(self, *arguments):
        if self.storage.conn.getdel("refuse-schedule"):
            raise ConnectionError("not to be read")
        return super().read_schedule(*arguments)


class UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError("stays here")


huey = Queue("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)


@huey.task()
def add(a, b):
    return a + b


@huey.task()
def total(numbers):
    return sum(numbers)


@huey.task(retries=1, retry_delay=1)
def fail_and_wait():
    raise ValueError("no")


@huey.task()
def ask_for_retry():
    if huey.storage.conn.incr("asked") == 1:
        raise RetryTask("later")


@huey.task()
def settle():
    with huey.lock_task("ledger"):
        return True


@huey.task()
def give_up():
    raise CancelExecution


@huey.task(timeout=0.1)
def dawdle():
    time.sleep(60)


@huey.task()
def mail():
    with huey.rate_limit("mails", 0, per=60, retry=False):
        return True


@huey.task()
def give_a_function():
    return lambda: None


@huey.task()
def fail_unpicklably():
    raise UnpicklableError("no")


@huey.task()
def postpone():
    return True


@huey.task()
def forget():
    return True


@huey.task()
def vanish():
    # Spans of what the worker has done before would end with it.
    instrumentation.flush()
    os.kill(os.getpid(), signal.SIGKILL)


@huey.task()
def sleep():
    time.sleep(60)


@huey.periodic_task(crontab())
def tick():
    return True


def main():
    revoked = add.s(1, 2)
    huey.revoke(revoked)
    huey.lock_task("ledger").acquire()
    for signature in (
        *(revoked, add.s(1, 2, expires=PAST), add.s(1, 2, priority=5)),
        *(add.s(1, 2).then(add, 3), fail_unpicklably.s().error(add.s(1))),
        *(api.group([add.s(1, 2)]), api.chord([add.s(1, 2), add.s(3, 4)], total.s())),
        *(fail_and_wait.s(), ask_for_retry.s(), settle.s(), give_up.s(), dawdle.s()),
        *(mail.s(), give_a_function.s(), forget.s(), vanish.s()),
    ):
        huey.enqueue(signature)
    add.schedule((1, 2), delay=1)
    postpone.schedule(delay=60)
    huey.storage.conn.set("refuse-schedule", 1)
    huey.storage.enqueue(b"no message")
