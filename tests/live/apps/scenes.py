"""A queue of tasks that do to their spans what tasks do.

The spans are the SDK's own where LIVE_BY_SDK is set.
"""

import os
import time

if os.environ.get("LIVE_PATCH") == "first":
    from gevent import monkey

    monkey.patch_all()

from huey import PriorityRedisHuey
from huey.exceptions import CancelExecution, RetryTask
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as contexts
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from huey_otel import instrument
from tests.live.apps.losses import report_at_exit
from tests.live.apps.patience import be_patient

if "LIVE_BY_SDK" in os.environ:
    start_span = Tracer.start_span
    Tracer.start_span = lambda *args, **options: start_span(*args, **options)

be_patient()
huey = PriorityRedisHuey("live", url=os.environ["LIVE_QUEUE_URL"])
instrumentation = instrument(huey)
report_at_exit(instrumentation)
tracer = trace.get_tracer("application", "1.2", schema_url="https://example.org/1")
TIMED = hasattr(huey, "rate_limit")
OTHER = SpanContext(
    *(0xC, 0xD, True, TraceFlags(1)), trace.TraceState([("a", "b"), ("c", "d")])
)


@huey.task()
def succeed():
    huey.storage.conn.set("way", instrumentation._outputs.tracer.resolved().spans.way)


@huey.task(retries=2, priority=3)
def fail():
    raise ValueError("Ошибка" * 8_000)


@huey.task(retries=1)
def ask_for_a_retry():
    if huey.storage.conn.incr("asked") == 1:
        raise RetryTask


@huey.task()
def cancel():
    raise CancelExecution(retry=False)


@huey.task()
@huey.lock_task("held")
def locked():
    pass


@huey.task(**({"timeout": 0.3} if TIMED else {}))
def run_out_of_time():
    time.sleep(10 if TIMED else 0)


@huey.task()
def say_much():
    span = trace.get_current_span()
    for number in range(200):
        span.set_attribute(f"attribute {number}", number)
        span.add_event(f"event {number}", {"number": number, "text": "x" * 50}, number)
        span.add_link(OTHER, {"number": number})


@huey.task()
def say_odd_things():
    span = trace.get_current_span()
    span.set_attributes({"none": None, "mixed": [1, "a"], "object": object})
    span.set_attributes({"true": True, "one": 1, "float": 1.0, "bytes": b"\xff"})
    span.set_attributes({"huey.task.outcome": 5, "list": [1, 2], "": "empty"})
    span.update_name("renamed")
    span.set_status(Status(StatusCode.OK))


@huey.task()
def fail_with_a_status_of_its_own():
    span = trace.get_current_span()
    span.set_status(StatusCode.ERROR, "mine")
    span.record_exception(KeyError("mine"), {"own": (1, 2)}, 5)
    raise ValueError("theirs")


@huey.task()
def end_it():
    span = trace.get_current_span()
    span.end(span.start_time + 5)


@huey.task()
def make_children():
    trace.get_current_span().set_attribute("user", str(baggage.get_baggage("user")))
    with tracer.start_as_current_span("outer") as outer:
        outer.add_link(OTHER)
        tracer.start_span("inner").end()
        enqueue(nested)


@huey.task()
def nested():
    pass


@huey.task()
def go_on():
    pass


@huey.task()
def say_more_than_crosses():
    trace.get_current_span().set_attribute("large", "x" * 100_000)


TASKS = (
    *(succeed, fail, ask_for_a_retry, cancel, locked, run_out_of_time, say_much),
    *(say_odd_things, fail_with_a_status_of_its_own, end_it, say_more_than_crosses),
)


def named(task):
    """A message of *task* whose id is always the same."""
    message = task.s()
    message.id = task.func.__name__
    return message


def enqueue(task):
    huey.enqueue(named(task))


def enqueue_all():
    """What a web process does."""
    huey.lock_task("held").__enter__()
    for task in TASKS:
        enqueue(task)
    remote = {
        "traceparent": f"00-{0xA:032x}-{0xB:016x}-01",
        "tracestate": "vendor=v,other=o",
        "baggage": "user=ada,tier=gold",
    }
    before = contexts.attach(propagate.extract(remote))
    enqueue(make_children)
    contexts.detach(before)
    message = named(succeed)
    after = go_on.s()
    message.id, after.id = "first", "second"
    with tracer.start_as_current_span("request", kind=trace.SpanKind.SERVER):
        huey.enqueue(message.then(after))
