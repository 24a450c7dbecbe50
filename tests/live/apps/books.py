"""A queue whose tasks keep the books: what the metrics have to say of them."""

import os
import time
from pathlib import Path

from huey import RedisHuey

from huey_otel import instrument

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)

# Each way that a retry takes to the queue.
AT_ONCE = "enqueued {} retry"
LATER = "enqueued {} scheduled"


def note(task, *lines):
    """Write *lines* of *task* down in one step, whoever else is writing."""
    text = "".join(f"{line.format(task)}\n" for line in lines)
    end = os.open(os.environ["LIVE_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(end, text.encode())
    finally:
        os.close(end)


def attempted(task, outcome, *more):
    """An attempt of *task* that will end with *outcome*."""
    note(task, "attempts {}", f"attempts_finished {{}} {outcome}", *more)


def done(task, outcome, final, *more):
    """The last one."""
    attempted(task, outcome, f"finished {{}} {final}", *more)


def tried_again(task, way):
    attempted(task, "error", "retries {}", way)


def is_first(key):
    return huey.storage.conn.incr(f"runs-{key}") == 1


@huey.task()
def succeed():
    done("succeed", "success", "success")


@huey.task()
def fail():
    done("fail", "error", "failure")
    raise ValueError


@huey.task(retries=2)
def recover(number):
    if is_first(f"recover-{number}"):
        tried_again("recover", AT_ONCE)
        raise ValueError
    done("recover", "success", "success")


@huey.task(retries=1, retry_delay=1)
def recover_later(number):
    if is_first(f"recover-later-{number}"):
        tried_again("recover_later", LATER)
        raise ValueError
    done("recover_later", "success", "success")


@huey.task(retries=1)
def give_up(number):
    if is_first(f"give-up-{number}"):
        tried_again("give_up", AT_ONCE)
    else:
        done("give_up", "error", "failure")
    raise ValueError


@huey.task()
def meet_lock():
    done("meet_lock", "locked", "locked")
    with huey.lock_task("held"):
        pass


@huey.task()
def nest():
    done("nest", "success", "success", "enqueued succeed call")
    succeed()


@huey.task()
def begin_pipeline():
    done("begin_pipeline", "success", "success", "enqueued end_pipeline pipeline")
    return 1


@huey.task()
def end_pipeline(_result):
    done("end_pipeline", "success", "success")


@huey.task()
def be_put_off():
    done("be_put_off", "success", "success", LATER)


@huey.task()
def be_revoked():
    done("be_revoked", "success", "success")


@huey.task()
def hold():
    """Keeps its worker until the test makes a file."""
    while not Path(os.environ["LIVE_GATE"]).exists():
        time.sleep(0.01)


@huey.task()
def hang():
    huey.storage.conn.lpush("hangs", os.getpid())
    time.sleep(60)
