"""What is in the spans of enqueues and attempts."""

import datetime
import gc
import logging
import time
from collections.abc import Iterator

import pytest
from huey import MemoryHuey
from huey.api import Huey
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import messaging_attributes as m
from opentelemetry.trace import (
    SpanKind,
    StatusCode,
)

from huey_otel._wire.client import CLIENT
from tests.support.recorded import EARLIER, Recorded
from tests.support.spans import linked, plain
from tests.support.timeouts import alarm, untraced

HERE = __name__


def test_a_task_is_two_spans_in_one_trace(huey, seen, spans, drain):
    @huey.task()
    def add(a, b):
        with spans.tracer.start_as_current_span("inside"):
            return a + b

    add(1, 2)
    drain()

    assert spans.trees == [{"enqueue add": {"process add": {"inside": {}}}}]
    assert [span.kind for span in spans.all[:2]] == [
        SpanKind.PRODUCER,
        SpanKind.CONSUMER,
    ]
    assert [span.status.status_code for span in spans.all] == [StatusCode.UNSET] * 3
    assert spans.one("enqueue add").name == f"enqueue {HERE}.add"


def test_attributes_follow_the_semantic_conventions(huey, seen, spans, drain):
    @huey.task(retries=2, priority=5)
    def add(a, b):
        return a + b

    task_id = add.schedule((1, 2), eta=EARLIER).id
    drain()

    process = dict(spans.one("process add").attributes)
    wait = process.pop("huey.task.wait")
    eta = EARLIER.replace(tzinfo=datetime.UTC).timestamp()
    common = {
        m.MESSAGING_SYSTEM: "huey",
        m.MESSAGING_DESTINATION_NAME: "my-app",
        m.MESSAGING_MESSAGE_ID: task_id,
        m.MESSAGING_CLIENT_ID: CLIENT.id,
        "huey.task.name": f"{HERE}.add",
        "huey.task.attempt": 1,
        "huey.task.retries_left": 2,
        "huey.task.priority": 5,
        "huey.task.eta": eta,
    }
    enqueue = dict(spans.one("enqueue add").attributes)
    assert enqueue == common | {
        m.MESSAGING_OPERATION_NAME: "enqueue",
        m.MESSAGING_OPERATION_TYPE: m.MessagingOperationTypeValues.SEND.value,
    }
    assert process == common | {
        m.MESSAGING_OPERATION_NAME: "process",
        m.MESSAGING_OPERATION_TYPE: m.MessagingOperationTypeValues.PROCESS.value,
        "huey.task.outcome": "success",
    }
    assert wait >= 0
    assert _types(enqueue | process | {"huey.task.wait": wait}) == {
        **dict.fromkeys(
            (
                m.MESSAGING_SYSTEM,
                m.MESSAGING_DESTINATION_NAME,
                m.MESSAGING_CLIENT_ID,
                m.MESSAGING_MESSAGE_ID,
                m.MESSAGING_OPERATION_NAME,
                m.MESSAGING_OPERATION_TYPE,
                "huey.task.name",
                "huey.task.outcome",
            ),
            str,
        ),
        **dict.fromkeys(
            ("huey.task.attempt", "huey.task.retries_left", "huey.task.priority"), int
        ),
        "huey.task.eta": float,
        "huey.task.wait": float,
    }


def _types(attributes: dict[str, object]) -> dict[str, type]:
    return {name: type(value) for name, value in attributes.items()}


def test_log_lines_of_a_task_and_of_hueys_about_it_are_in_its_span(
    huey, seen, spans, drain
):
    class Ids(logging.Handler):
        def emit(self, record):
            span = trace.get_current_span().get_span_context().span_id
            lines.append((record.getMessage().split(":")[0].split(",")[0], span))

    @huey.task(retries=1)
    def fail():
        logging.getLogger("app").warning("working")
        raise ValueError

    lines: list[tuple[str, int]] = []
    handler = Ids()
    logging.getLogger().addHandler(handler)
    logging.getLogger("huey").setLevel(logging.INFO)
    task = fail()
    huey.execute(huey.dequeue())
    logging.getLogger("huey").setLevel(logging.NOTSET)
    logging.getLogger().removeHandler(handler)

    process = spans.one("process fail").context.span_id
    assert [line for line in lines if line[1]] == [
        ("working", process),
        (f"Unhandled exception in task {task.id}.", process),
        (f"Requeueing {task.id}", process),
    ]


def test_spans_may_be_named_by_the_queue(huey, instrumented, spans, drain):
    instrumented(span_naming="queue")

    @huey.task()
    def add():
        pass

    add()
    drain()

    assert [span.name for span in spans.all] == ["enqueue my-app", "process my-app"]


def test_revoked_and_expired_are_short_spans(huey, seen, spans, drain):
    @huey.task()
    def add():
        pass

    add().revoke()
    drain()
    add.schedule(eta=EARLIER, expires=EARLIER)
    drain()

    revoked, expired = spans.named("process add")
    assert [
        (span.attributes["huey.task.outcome"], span.status.status_code)
        for span in (revoked, expired)
    ] == [("revoked", StatusCode.UNSET), ("expired", StatusCode.UNSET)]
    assert "huey.task.wait" not in revoked.attributes
    parents = [span.context.span_id for span in spans.named("enqueue add")]
    assert [revoked.parent.span_id, expired.parent.span_id] == parents
    ids = [
        (event["trace_id"], event["span_id"])
        for event in seen.published
        if event["status"] in ("revoked", "expired")
    ]
    assert ids == [_hex(revoked), _hex(expired)]


def _hex(span) -> tuple[str, str]:
    return (
        trace.format_trace_id(span.context.trace_id),
        trace.format_span_id(span.context.span_id),
    )


def test_a_deep_failure_has_a_bounded_traceback(huey, seen, spans, drain):
    @huey.task()
    def fail():
        raise ValueError("x" * 100_000)

    fail()
    drain()

    (event,) = spans.one("process fail").events
    assert len(event.attributes["exception.stacktrace"].encode()) <= 16_384
    assert len(event.attributes["exception.message"]) == 1_024


def test_span_and_events_tell_the_same_times_and_ids(huey, seen, spans, drain):
    @huey.task()
    def add():
        time.sleep(0.01)

    add()
    drain()

    span = spans.one("process add")
    started, finished = seen.published
    assert span.start_time == int(started["timestamp"] * 1e9)
    assert span.end_time == int((started["timestamp"] + finished["duration"]) * 1e9)
    assert span.attributes["huey.task.wait"] == started["wait"]
    for event in (started, finished):
        assert (event["trace_id"], event["span_id"]) == _hex(span)


def test_an_enqueue_that_fails_is_hueys_error_and_leaves_no_span_current(
    huey, seen, spans
):
    error = OSError("offline")

    def refuse(*_args):
        raise error

    @huey.task()
    def add():
        pass

    huey.storage.enqueue = refuse
    with spans.tracer.start_as_current_span("request") as request:
        with pytest.raises(OSError, match="offline") as raised:
            add()
        assert trace.get_current_span() is request

    assert raised.value is error
    span = spans.one("enqueue add")
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "offline",
    )
    assert span.attributes["error.type"] == "OSError"
    assert [event.name for event in span.events] == ["exception"]


def test_immediate_mode_nests(spans):
    huey = MemoryHuey("my-app", immediate=True)
    Recorded(huey, tracer_provider=spans.provider)

    @huey.task(retries=1)
    def inner():
        raise ValueError

    @huey.task()
    def outer():
        inner()

    outer()

    assert spans.trees == [
        {
            "enqueue outer": {
                "process outer": {
                    "enqueue inner": {"process inner": {"process inner": {}}}
                }
            }
        }
    ]
    first, second = spans.named("process inner")
    assert linked(second) == [plain(first.context)]


@pytest.fixture
def limited(huey) -> Iterator[Huey]:
    """A huey whose tasks have time limits, as in a worker process."""
    if not hasattr(huey, "_timeout_handler"):
        pytest.skip("huey 2 has no timeouts")
    huey._timeout_handler = alarm()
    # An alarm inside of a collection is lost in whatever that finalizes.
    gc.collect()
    gc.disable()
    with untraced():
        yield huey
    gc.enable()


def test_context_is_detached_when_a_timeout_hits_an_enqueue(limited, seen, spans):
    @limited.task()
    def inner():
        pass

    @limited.task(timeout=0.003)
    def outer():
        until = time.monotonic() + 1
        while time.monotonic() < until:
            inner()

    before = contexts.get_current()
    for _ in range(60):
        limited.execute(outer.s())
        assert contexts.get_current() == before

    outcomes = [
        span.attributes["huey.task.outcome"] for span in spans.named("process outer")
    ]
    assert outcomes == ["timeout"] * 60


def test_context_is_detached_when_a_timeout_hits_an_inner_run(limited, seen, spans):
    limited.immediate = True

    @limited.task()
    def inner():
        pass

    # An inner run takes the alarm for its own, and ends with it.
    @limited.task(timeout=0.003)
    def outer():
        until = time.monotonic() + 0.004
        while time.monotonic() < until:
            inner()

    before = contexts.get_current()
    for _ in range(60):
        outer()
        assert contexts.get_current() == before

    assert len(spans.named("process outer")) == 60
