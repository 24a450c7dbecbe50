"""Other observers of the same queue, installed in the order of the arguments.

Prints what the tasks did, what we saw, and what the neighbours did.
"""

import json
import logging
import sys

from huey import CancelExecution, MemoryHuey
from huey.signals import SIGNAL_ERROR

from tests.support.recorded import Drain, Recorded

logging.getLogger("huey").disabled = True
huey = MemoryHuey("neighbours")
ran = []
theirs = {}


@huey.task()
def add(a, b):
    ran.append("add")
    return a + b


@huey.task(retries=3)
def fail():
    ran.append("fail")
    raise ValueError("no")


@huey.task()
def refused():
    ran.append("refused")


@huey.task()
def outer():
    ran.append("outer")
    return add(1, 2).id


def sentry():
    import sentry_sdk
    from sentry_sdk.integrations.huey import HueyIntegration
    from sentry_sdk.transport import Transport

    class Kept(Transport):
        def capture_envelope(self, envelope):
            for item in envelope.items:
                kinds = theirs.setdefault("sentry", {})
                kinds[item.type] = kinds.get(item.type, 0) + 1

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=Kept,
        traces_sample_rate=1.0,
        default_integrations=False,
        integrations=[HueyIntegration()],
    )


def stats():
    try:
        from huey.contrib.stats import HueyStats
    except ImportError:
        return
    from peewee import SqliteDatabase

    HueyStats(huey, SqliteDatabase(sys.argv[2])).connect()


def receivers():
    @huey.signal()
    def raises(_signal, _task, _error=None):
        theirs["receiver"] = theirs.get("receiver", 0) + 1
        raise RuntimeError("a receiver")

    @huey.signal(SIGNAL_ERROR)
    def retries_less(_signal, task, _error=None):
        task.retries = min(task.retries, 1)


def hooks():
    @huey.pre_execute()
    def refuse(task):
        if task.name == "refused":
            raise CancelExecution

    @huey.post_execute()
    def raises(_task, _value, _error):
        theirs["hook"] = theirs.get("hook", 0) + 1
        raise RuntimeError("a hook")


def otel():
    global seen
    seen = Recorded(huey, publish_enqueued=True)


def z4j():
    import asyncio

    from z4j_huey.engine import HueyEngineAdapter

    HueyEngineAdapter(huey=huey).connect_signals(asyncio.new_event_loop())


names = sys.argv[1].split(",")
for name in names:
    {f.__name__: f for f in (sentry, stats, receivers, hooks, z4j, otel)}[name]()

for task in (add.s(1, 2), fail.s(), refused.s(), outer.s()):
    huey.enqueue(task)
escaped = Drain(huey)()
told = {"escaped": list(map(str, escaped)), "theirs": theirs}
if "otel" in names:
    told["queued"] = [seen.steps, [*ran]]
# Another storage, and so other sinks.
ran.clear()
huey.immediate = True
if "otel" in names:
    otel()
add(1, 2)
outer()
if "otel" in names:
    told["immediate"] = [seen.steps, ran]
    told["lost"] = dict(seen.instrumentation.dropped)
sys.stdout.write(json.dumps(told) + "\n")
