"""A queue whose tasks keep a ledger of what the metrics must say of them."""

import os
import sys
import time
from pathlib import Path

from huey import RedisHuey
from huey.exceptions import CancelExecution, RetryTask

from huey_otel import instrument

huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)

# Each way that a retry takes to the queue.
AT_ONCE = ("requeued {} retry",)
MOVED = "requeued {} scheduled"
LATER = (*AT_ONCE, MOVED)


def note(task, *lines):
    """Write *lines* of *task* down in one step, beside other writers."""
    text = "".join(f"{line.format(task)}\n" for line in lines)
    end = os.open(os.environ["LIVE_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(end, text.encode())
    finally:
        os.close(end)


def raised(task, error="ValueError"):
    return f"exceptions {task} {error}"


def attempted(task, outcome, *more):
    """An attempt of *task* that will end with *outcome*."""
    note(task, "attempts {}", f"attempts_finished {{}} {outcome}", *more)


def done(task, outcome, final, *more):
    """The last attempt of *task*."""
    attempted(task, outcome, f"finished {{}} {final}", *more)


def tried_again(task, way, outcome="error", *more):
    if outcome == "error":
        more = (raised(task),)
    attempted(task, outcome, "retries {}", *way, *more)


def is_first(key):
    return huey.storage.conn.incr(f"runs-{key}") == 1


@huey.task()
def succeed():
    done("succeed", "success", "success")


@huey.task()
def fail():
    done("fail", "error", "failure", raised("fail"))
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
        done("give_up", "error", "failure", raised("give_up"))
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
    done("be_put_off", "success", "success", MOVED)


@huey.task()
def be_revoked():
    done("be_revoked", "success", "success")


@huey.task()
def be_expired():
    done("be_expired", "success", "success")


@huey.task()
def cancel_itself():
    done("cancel_itself", "canceled", "canceled")
    raise CancelExecution(retry=False)


@huey.task(retries=1)
def cancel_once(number):
    if is_first(f"cancel-once-{number}"):
        tried_again("cancel_once", AT_ONCE, "canceled")
        raise CancelExecution
    done("cancel_once", "success", "success")


@huey.task()
def ask_again(number):
    if is_first(f"ask-again-{number}"):
        tried_again("ask_again", AT_ONCE, "retry_requested")
        raise RetryTask
    done("ask_again", "success", "success")


@huey.task()
def lose_result():
    done("lose_result", "success", "failure", "consumer_errors storing_result")
    return lambda: "cannot be pickled"


@huey.task()
def be_handled():
    more = raised("be_handled"), "enqueued handle pipeline"
    done("be_handled", "error", "failure", *more)
    raise ValueError


@huey.task()
def handle(_error):
    done("handle", "success", "success")


@huey.task()
def leave():
    """End its worker, which the consumer replaces."""
    done("leave", "error", "failure", raised("leave", "SystemExit"), "restarts died")
    sys.exit(3)


# huey 2 has neither limit.
if hasattr(huey, "rate_limit"):
    from huey.exceptions import RateLimitExceeded

    @huey.task(timeout=0.2, context=True)
    def time_out(task):
        error = raised("time_out", "huey.exceptions.TaskTimeout")
        done("time_out", "timeout", "timeout", error)
        time.sleep(0.25)
        # A thread cannot be interrupted: it has to ask.
        task.check_timeout()

    @huey.task()
    def be_limited():
        done("be_limited", "rate_limited", "rate_limited")
        with huey.rate_limit("nothing", 0, per=3600, retry=False):
            pass

    @huey.task(retries=1)
    def be_limited_once(number):
        if is_first(f"be-limited-once-{number}"):
            tried_again("be_limited_once", LATER, "rate_limited")
            raise RateLimitExceeded("soon", delay=1, retry=False)
        done("be_limited_once", "success", "success")


@huey.task()
def hold():
    """Keep its worker busy until the test makes a file."""
    while not Path(os.environ["LIVE_GATE"]).exists():
        time.sleep(0.01)


@huey.task()
def hang():
    huey.storage.conn.lpush("hangs", os.getpid())
    time.sleep(60)
