"""A task for each shape of work, and `python -m docs.shapes`, which enqueues them."""

import datetime
import os
import signal
import time
from collections.abc import Callable

from huey import CancelExecution, RedisHuey, RetryTask, api, crontab
from opentelemetry import trace

from huey_otel import instrument

huey = RedisHuey("shapes", url=os.environ["SHAPES_QUEUE_URL"])
instrumentation = instrument(huey, link_after=1.5)

PAST = datetime.datetime(2000, 1, 1)  # noqa: DTZ001 - huey's times are naive
HOPS = 102


@huey.task(retries=2)
def charge():
    raise ValueError("declined")


@huey.task(retries=1, retry_delay=2)
def sync():
    raise ValueError("away")


@huey.task(retries=2)
def remind():
    raise ValueError("no address")


@huey.task()
def poll():
    if huey.storage.incr("polls") < 3:
        raise RetryTask(delay=0.1)


@huey.task()
@huey.lock_task("ledger")
def settle():
    return True


@huey.task(retries=1, retry_delay=0.1)
@huey.rate_limit("mails", limit=1, per=1_000_000_000, retry=False)
def mail():
    return True


@huey.task(retries=1)
def give_up():
    raise CancelExecution(retry=False)


@huey.task(timeout=0.1)
def dawdle():
    time.sleep(60)


@huey.task()
def add(a, b):
    return a + b


@huey.task()
def total(numbers):
    return sum(numbers)


@huey.task()
def fail():
    raise ValueError("no")


@huey.task()
def report(error):
    return repr(error)


@huey.task()
def order():
    add(1, 2)
    add(3, 4)


@huey.task()
def again(left):
    if left:
        again(left - 1)


@huey.task()
def vanish():
    # What the worker has done before is not what this is about.
    instrumentation.flush()
    os.kill(os.getpid(), signal.SIGKILL)


@huey.periodic_task(crontab())
def nightly():
    return True


@huey.task()
def mark():
    return True


def locked():
    huey.lock_task("ledger").acquire()
    settle()


def rate_limited():
    mail()
    mail()


def pipeline():
    huey.enqueue(add.s(1, 2).then(add, 3).then(add, 4))


def error_handler():
    huey.enqueue(fail.s().error(report.s()))


def mapped():
    add.map([(1, 2), (3, 4)])


def group():
    huey.enqueue(api.group([add.s(1, 2), add.s(3, 4)]))


def chord():
    members = [add.s(1, 2), add.s(3, 4).then(add, 5), add.s(6, 7)]
    huey.enqueue(api.chord(members, total.s()))


def near():
    add.schedule((1, 2), delay=1)


def far():
    add.schedule((1, 2), delay=2)


def far_and_failing():
    remind.schedule(delay=2)


def reschedule():
    add.schedule((1, 2), delay=0.5).reschedule(delay=1)


def revoked():
    task = add.s(1, 2)
    huey.revoke(task)
    huey.enqueue(task)


def expired():
    huey.enqueue(add.s(1, 2, expires=PAST))


SHAPES: dict[str, Callable[[], object]] = {
    "retries": charge,
    "RetryTask": poll,
    "locked": locked,
    "rate limited": rate_limited,
    "canceled": give_up,
    "timeout": dawdle,
    "pipeline": pipeline,
    "error handler": error_handler,
    "tasks that enqueue tasks": order,
    "map": mapped,
    "group": group,
    "chord": chord,
    "delay up to link_after": near,
    "delay over link_after": far,
    "retries of a task put off": far_and_failing,
    "retry over link_after": sync,
    "reschedule": reschedule,
    "loop": lambda: again(HOPS),
    "revoked": revoked,
    "expired": expired,
    "lost": vanish,
}


def idle() -> bool:
    """Whether nothing is left to do, when the one worker has done all until now."""
    mark()(blocking=True, timeout=60)
    return not huey.pending_count() and not huey.scheduled_count()


def main() -> None:
    # A tracer that is made before the provider is there is not one of ours.
    instrumentation._outputs.tracer.resolved()  # noqa: SLF001
    tracer = trace.get_tracer("shapes")
    for name, enqueue in SHAPES.items():
        with tracer.start_as_current_span(f"POST /{name.replace(' ', '-')}"):
            enqueue()
    group()
    idle_for = 0
    while idle_for < 3:
        # A ripe task is for a moment on neither queue nor schedule.
        idle_for = idle_for + 1 if idle() else 0
        time.sleep(0.1)


if __name__ == "__main__":
    # By the name under which the consumer knows the tasks.
    from docs import shapes

    shapes.main()
