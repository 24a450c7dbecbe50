"""A queue whose tasks keep a ledger: worker, task, span and end of each run.

LIVE_GREENLETS patches the standard library first, as an application's module does.
"""

import os

if "LIVE_GREENLETS" in os.environ:
    from gevent import monkey

    monkey.patch_all()

import itertools
import json
import logging
import sys
import threading
import time
from multiprocessing import util
from pathlib import Path

from huey import RedisHuey
from opentelemetry import trace
from prometheus_client import generate_latest

from huey_otel import instrument
from tests.live.apps.patience import be_patient

RUN = os.environ.get("LIVE_RUN", "web")
be_patient()
huey = RedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
workers = itertools.count(1)
here = threading.local()

# The errors below are meant.
logging.getLogger("huey").disabled = True


def current_span():
    return format(trace.get_current_span().get_span_context().span_id, "016x")


def worker():
    """One name for each thread, process or greenlet; a forked one has another pid."""
    if getattr(here, "pid", None) != os.getpid():
        here.pid, here.number = os.getpid(), next(workers)
    return f"{RUN}-{here.pid}-{here.number}"


def write(*words):
    """Append a line to the ledger in one step, beside other writers."""
    end = os.open(os.environ["LIVE_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(end, f"{' '.join(map(str, words))}\n".encode())
    finally:
        os.close(end)


def call(function, *arguments):
    """Enqueue a task, and write down for whom."""
    write("called", function(*arguments).id, worker(), current_span())


@huey.task(context=True)
def work(number, seconds, task=None):
    write("began", task.id, worker(), current_span())
    time.sleep(seconds)
    if number % 5 == 0:
        call(follow)
    time.sleep(seconds)
    write("ended", task.id, worker(), current_span())
    if number % 10 == 0:
        raise ValueError(number)


@huey.task(context=True)
def follow(task=None):
    write("began", task.id, worker(), current_span())
    write("ended", task.id, worker(), current_span())


@huey.task(context=True)
def die(task=None):
    write("began", task.id, worker(), current_span())
    write("ended", task.id, worker(), current_span())
    sys.exit(1)


def report():
    """Leave what the process has counted and lost in LIVE_REPORTS."""
    path = Path(os.environ["LIVE_REPORTS"]) / f"{RUN}-{time.time_ns()}"
    told = {
        "losses": dict(instrumentation.dropped),
        "page": generate_latest().decode(),
    }
    path.with_suffix(".part").write_text(json.dumps(told))
    path.with_suffix(".part").rename(path.with_suffix(".json"))


def restart(*arguments):
    report()
    execl(*arguments)


execl, os.execl = os.execl, restart
# Behind huey_otel's own finalizers; a fork forgets it.
util.Finalize(None, report, exitpriority=-200)
