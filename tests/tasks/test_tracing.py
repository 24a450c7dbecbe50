"""Spans of enqueues and attempts: what is in them, and how they are joined."""

import contextlib
import contextvars
import datetime
import functools
import gc
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from huey import CancelExecution, MemoryHuey, RetryTask, api, crontab
from huey.api import Huey
from huey.serializer import SignedSerializer
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as contexts
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.semconv._incubating.attributes import messaging_attributes as m
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)
from prometheus_client import CollectorRegistry, generate_latest

from huey_otel._safety.losses import Losses
from huey_otel._wire.carrier import decode
from huey_otel._wire.client import CLIENT
from tests.support.seen import EARLIER, LATER, Drain, Seen
from tests.support.spans import Spans, linked, plain, traces
from tests.support.timeouts import alarm, untraced
from tests.support.waiting import wait_until

HERE = "tests.tasks.test_tracing"

CHORDS = pytest.mark.skipif(not hasattr(api, "chord"), reason="huey 2 has no chords")

Instrument = Callable[..., Seen]


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture(autouse=True)
def nothing_stays_current() -> Iterator[None]:
    before = contexts.get_current()
    yield
    assert contexts.get_current() == before


@pytest.fixture
def seen(huey: Huey, spans: Spans) -> Seen:
    return Seen(huey, tracer_provider=spans.provider)


@pytest.fixture
def instrumented(huey: Huey, spans: Spans) -> Instrument:
    """Instruments `huey` with options."""

    def instrumented(**options: object) -> Seen:
        return Seen(huey, tracer_provider=spans.provider, **options)

    return instrumented


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


def test_attributes_are_those_of_the_semantic_conventions(huey, seen, spans, drain):
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


def test_enqueue_is_a_child_of_what_is_current(huey, seen, spans, drain):
    @huey.task()
    def add():
        pass

    with spans.tracer.start_as_current_span("request"):
        add()
    drain()

    assert spans.trees == [{"request": {"enqueue add": {"process add": {}}}}]


def test_a_task_that_enqueues_and_a_pipeline_are_one_trace(huey, seen, spans, drain):
    @huey.task()
    def inner():
        return 1

    @huey.task()
    def outer():
        inner()
        return 1

    @huey.task()
    def after(_result):
        return 1

    huey.enqueue(outer.s().then(after))
    drain()

    assert spans.trees == [
        {
            "enqueue outer": {
                "process outer": {
                    "enqueue inner": {"process inner": {}},
                    "enqueue after": {"process after": {}},
                }
            }
        }
    ]


def test_an_error_handler_is_in_the_trace_of_the_failure(huey, seen, spans, drain):
    @huey.task()
    def fail():
        raise ValueError

    @huey.task()
    def handle(_error):
        pass

    huey.enqueue(fail.s().error(handle))
    drain()

    assert spans.trees == [
        {"enqueue fail": {"process fail": {"enqueue handle": {"process handle": {}}}}}
    ]


def test_retries_stay_in_the_trace_and_link_to_the_attempt_before(
    huey, seen, spans, drain
):
    @huey.task(retries=2)
    def fail():
        raise ValueError

    fail()
    drain()

    first, second, third = spans.named("process fail")
    origin = spans.one("enqueue fail").context
    assert [attempt.parent.span_id for attempt in (first, second, third)] == [
        origin.span_id
    ] * 3
    assert linked(first) == []
    assert linked(second) == [plain(first.context)]
    assert linked(third) == [plain(second.context)]
    assert dict(third.links[0].attributes) == {"huey.link": "retry"}
    assert [
        (
            span.attributes["huey.task.attempt"],
            span.attributes["huey.task.retries_left"],
        )
        for span in (first, second, third)
    ] == [(1, 2), (2, 1), (3, 0)]


def test_a_delayed_retry_stays_in_the_trace(huey, seen, spans, drain):
    @huey.task(retries=1, retry_delay=60)
    def fail():
        raise ValueError

    fail()
    drain()
    drain.ripe()

    first, second = spans.named("process fail")
    assert second.parent.span_id == spans.one("enqueue fail").context.span_id
    assert linked(second) == [plain(first.context)]


def test_a_retry_that_is_long_in_coming_is_linked(huey, instrumented, spans, drain):
    instrumented(link_after=30)

    @huey.task(retries=1, retry_delay=60)
    def fail():
        raise ValueError

    fail()
    drain()
    drain.ripe()

    first, second = spans.named("process fail")
    assert second.parent is None
    assert linked(second) == [
        plain(spans.one("enqueue fail").context),
        plain(first.context),
    ]


def test_retries_of_a_task_that_was_put_off_stay_in_its_own_trace(
    huey, instrumented, spans, drain
):
    instrumented(link_after=0.01)

    @huey.task(retries=2)
    def remind():
        inside.append(baggage.get_all())
        raise ValueError

    inside: list[object] = []
    token = contexts.attach(baggage.set_baggage("user", "me", contexts.Context()))
    remind.schedule(delay=0.05)
    contexts.detach(token)
    drain(at=EARLIER)
    wait_until(lambda: [huey.enqueue(task) for task in huey.read_schedule()])
    drain()

    first, second, third = spans.named("process remind")
    assert first.parent is None
    assert linked(first) == [plain(spans.one("enqueue remind").context)]
    assert second.parent.span_id == third.parent.span_id == first.context.span_id
    assert linked(second) == [plain(first.context)]
    assert linked(third) == [plain(second.context)]
    # What was not carried over the link does not come back behind it.
    assert inside == [{}] * 3


def test_of_retries_that_are_long_in_coming_each_begins_a_trace(
    huey, instrumented, spans, drain
):
    instrumented(link_after=30)

    @huey.task(retries=3, retry_delay=60)
    def fail():
        raise ValueError

    fail()
    drain()
    drain.ripe()
    drain.ripe()

    _, second, third = spans.named("process fail")
    assert second.parent is third.parent is None
    assert linked(third) == [
        plain(spans.one("enqueue fail").context),
        plain(second.context),
    ]


def test_with_link_a_retry_is_a_trace_and_linked_to_its_enqueue(
    huey, instrumented, spans, drain
):
    instrumented(propagation="link")

    @huey.task(retries=1)
    def fail():
        raise ValueError

    fail()
    drain()

    first, second = spans.named("process fail")
    assert second.parent is None
    assert linked(second) == [
        plain(spans.one("enqueue fail").context),
        plain(first.context),
    ]


def test_retries_of_a_periodic_task_stay_in_its_trace(huey, seen, spans, drain):
    @huey.periodic_task(crontab(), retries=2)
    def tick():
        raise ValueError

    for task in huey.read_periodic(LATER):
        huey.enqueue(task)
    drain()

    first, second, third = spans.named("process tick")
    assert spans.names == ["process tick"] * 3
    assert first.parent is None
    assert second.parent.span_id == third.parent.span_id == first.context.span_id
    assert linked(third) == [plain(second.context)]


@pytest.mark.parametrize("carried", [{}, {"user": "me"}], ids=["nothing", "baggage"])
def test_retries_of_a_producer_without_spans_stay_in_one_trace(
    huey, instrumented, spans, drain, carried
):
    @huey.task(retries=2)
    def fail():
        inside.append(baggage.get_all())
        raise ValueError

    inside: list[object] = []
    producer = Seen(huey, tracer_provider=trace.NoOpTracerProvider())
    context = contexts.Context()
    for name, value in carried.items():
        context = baggage.set_baggage(name, value, context)
    token = contexts.attach(context)
    fail()
    contexts.detach(token)
    producer.instrumentation.uninstrument()
    instrumented()
    drain()

    first, second, third = spans.named("process fail")
    assert first.parent is None
    assert second.parent.span_id == third.parent.span_id == first.context.span_id
    assert linked(second) == [plain(first.context)]
    assert linked(third) == [plain(second.context)]
    assert inside == [carried] * 3


def test_a_periodic_run_is_a_root_and_has_no_producer_span(huey, seen, spans, drain):
    @huey.periodic_task(crontab())
    def tick():
        pass

    for task in huey.read_periodic(LATER):
        huey.enqueue(task)
    drain()

    assert spans.trees == [{"process tick": {}}]
    assert spans.one("process tick").kind is SpanKind.CONSUMER


def test_schedule_and_scheduler_keep_the_headers(huey, instrumented, spans, drain):
    instrumented(propagation="child")

    @huey.task()
    def add():
        pass

    add.schedule(delay=60)
    enqueued = _headers(huey.storage.enqueued_items())
    drain()
    (message,) = huey.storage.scheduled_items()
    scheduled = _headers(message)
    drain.scheduler()
    ripe = _headers(huey.storage.enqueued_items())
    drain(at=LATER)

    assert enqueued.keys() == {"traceparent"}
    assert enqueued == scheduled == ripe
    assert spans.trees == [{"enqueue add": {"process add": {}}}]


def _headers(messages: bytes | list[bytes]) -> dict[str, str]:
    if isinstance(messages, list):
        (messages,) = messages
    carrier = decode(messages)
    assert carrier is not None
    return dict(carrier.headers)


@pytest.mark.parametrize(
    ("propagation", "delay", "parent", "link"),
    [
        ("auto", 599, True, False),
        ("auto", 601, False, True),
        ("child", 601, True, False),
        ("link", 0, False, True),
        ("none", 0, False, False),
        (lambda task: "link", 0, False, True),
        (lambda task: "auto", 601, False, True),
    ],
    ids=["near", "far", "child", "link", "none", "chosen", "chosen auto"],
)
def test_propagation(
    huey, instrumented, spans, drain, propagation, delay, parent, link
):
    instrumented(propagation=propagation)

    @huey.task()
    def add():
        pass

    add.schedule(delay=delay) if delay else add()
    drain()
    drain.ripe()

    origin, process = spans.one("enqueue add"), spans.one("process add")
    assert (process.parent and process.parent.span_id) == (
        origin.context.span_id if parent else None
    )
    assert linked(process) == ([plain(origin.context)] if link else [])


def _raising(_task):
    raise RuntimeError("no idea")


@pytest.mark.parametrize(
    "propagation",
    [_raising, lambda task: "sideways", lambda task: None, lambda task: []],
    ids=["raises", "nonsense", "None", "unhashable"],
)
def test_a_broken_propagation_is_counted_and_the_task_runs(
    huey, instrumented, spans, drain, losses: Losses, propagation
):
    instrumented(propagation=propagation)

    @huey.task()
    def add():
        return 1

    result = add()
    drain()

    assert result() == 1
    assert spans.trees == [{"enqueue add": {"process add": {}}}]
    assert losses.counts() == {"internal": 1}


def test_a_loop_gets_a_linked_trace_after_a_hundred_hops(huey, seen, spans):
    @huey.task()
    def again(left):
        if left:
            again(left - 1)

    again(250)
    for _ in range(251):
        huey.execute(huey.dequeue())

    roots = [span for span in spans.all if span.parent is None]
    numbers = [
        spans.named("process again").index(span)
        for span in roots
        if span.name.startswith("process")
    ]
    assert numbers == [101, 202]
    last_of_first = spans.named("enqueue again")[101]
    assert linked(roots[1]) == [plain(last_of_first.context)]
    assert len(traces(spans.all)) == 3


def test_a_loop_by_way_of_a_thread_gets_a_linked_trace_too(huey, seen, spans):
    @huey.task()
    def again():
        enqueue = functools.partial(contextvars.copy_context().run, again)
        thread = threading.Thread(target=enqueue)
        thread.start()
        thread.join()

    again()
    for _ in range(110):
        huey.execute(huey.dequeue())

    parents = [span.parent for span in spans.named("process again")]
    assert [number for number, span in enumerate(parents) if span is None] == [101]


def test_a_task_that_polls_gets_a_linked_trace_after_a_hundred_attempts(
    huey, seen, spans
):
    @huey.task()
    def poll():
        raise RetryTask

    poll()
    for _ in range(251):
        huey.execute(huey.dequeue())

    attempts = spans.named("process poll")
    enqueue = spans.one("enqueue poll")
    parents = [span.parent and span.parent.span_id for span in attempts]
    assert parents == [
        *[enqueue.context.span_id] * 101,
        *[None, *[attempts[101].context.span_id] * 100],
        *[None, *[attempts[202].context.span_id] * 48],
    ]
    assert linked(attempts[101]) == [
        plain(enqueue.context),
        plain(attempts[100].context),
    ]
    assert linked(attempts[202]) == [
        plain(attempts[101].context),
        plain(attempts[201].context),
    ]


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


def _returns():
    return 1


def _raises():
    raise ValueError("bad " + "x" * 5_000)


def _retries():
    raise RetryTask


def _cancels():
    raise CancelExecution


def _leaves():
    raise SystemExit(3)


def _interrupted():
    raise KeyboardInterrupt


def _mute():
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    raise MuteError


@CHORDS
def test_a_chords_callback_is_in_its_trace_and_linked_to_its_members(
    huey, seen, spans, drain
):
    @huey.task()
    def number(value):
        return value

    @huey.task()
    def double(value):
        return 2 * value

    @huey.task(retries=1)
    def total(values):
        totals.append(values)
        if len(totals) == 1:
            raise ValueError

    totals: list[list[int]] = []
    members = [number.s(1), number.s(2).then(double), number.s(3)]
    huey.enqueue(api.chord(members, total.s()))
    drain()

    assert totals == [[1, 4, 3]] * 2
    assert len(traces(spans.all)) == 1
    first, second = spans.named("process total")
    done = [spans.named("process number")[0], spans.one("process double")]
    done.append(spans.named("process number")[2])
    assert linked(first) == [plain(span.context) for span in done]
    assert {link.attributes["huey.link"] for link in first.links} == {"member"}
    assert [span.attributes["huey.chord.size"] for span in (first, second)] == [3, 3]
    assert linked(second) == [plain(first.context)]


@CHORDS
@pytest.mark.parametrize("compression", [False, True], ids=["plain", "gzip"])
def test_a_large_chords_callback_has_a_bounded_number_of_links(spans, compression):
    serializer = SignedSerializer("secret", compression=compression)
    huey = MemoryHuey("my-app", serializer=serializer)
    Seen(huey, tracer_provider=spans.provider)

    @huey.task()
    def number(value):
        return value

    @huey.task()
    def total(values):
        totals.append(sum(values))

    totals: list[int] = []
    huey.enqueue(api.chord([number.s(value) for value in range(100)], total.s()))
    Drain(huey)()

    done = [plain(span.context) for span in spans.named("process number")]
    callback = spans.one("process total")
    assert totals == [sum(range(100))]
    assert linked(callback) == [*done[:16], *done[-16:]]
    assert callback.attributes["huey.chord.size"] == 100


@CHORDS
def test_members_that_did_not_run_are_linked_to_as_well(huey, seen, spans, drain):
    @huey.task()
    def number(value):
        return value

    @huey.task()
    def total(values):
        pass

    members = [number.s(1), number.s(2), number.s(3, expires=EARLIER)]
    huey.revoke(members[0])
    huey.enqueue(api.chord(members, total.s()))
    drain()

    shorts = spans.named("process number")
    assert [span.attributes["huey.task.outcome"] for span in shorts] == [
        *("revoked", "success", "expired"),
    ]
    assert linked(spans.one("process total")) == [plain(s.context) for s in shorts]


@CHORDS
@pytest.mark.parametrize(
    ("propagation", "joined"),
    [("auto", True), ("link", True), ("none", False), (lambda _: "none", False)],
    ids=["auto", "link", "none", "a function's none"],
)
def test_the_callback_of_members_with_traces_of_their_own(
    huey, instrumented, spans, drain, propagation, joined
):
    instrumented(propagation=propagation, link_after=30)

    @huey.task()
    def number():
        return 1

    @huey.task()
    def total(values):
        pass

    huey.enqueue(api.chord([number.s(), number.s(delay=60)], total.s()))
    drain()
    drain.ripe()

    near, far = spans.named("process number")
    origin, callback = spans.one("enqueue chord"), spans.one("enqueue total")
    assert far.context.trace_id != origin.context.trace_id
    assert (callback.context.trace_id == origin.context.trace_id) is joined
    members = [link for link in spans.one("process total").links if link.attributes]
    assert [plain(link.context) for link in members] == [
        plain(near.context),
        plain(far.context),
    ]


@CHORDS
def test_the_callback_of_a_late_member_that_was_retried_is_in_the_chords_trace(
    huey, instrumented, spans, drain
):
    instrumented(link_after=0.01)

    @huey.task(retries=2)
    def number():
        numbers.append(1)
        if len(numbers) < 3:
            raise ValueError
        return 1

    @huey.task()
    def total(values):
        pass

    numbers: list[int] = []
    huey.enqueue(api.chord([number.s(delay=0.05)], total.s()))
    drain(at=EARLIER)
    wait_until(lambda: [huey.enqueue(task) for task in huey.read_schedule()])
    drain()

    first, second, third = spans.named("process number")
    assert second.parent.span_id == third.parent.span_id == first.context.span_id
    enqueued = spans.one("enqueue number").context
    assert plain(spans.one("enqueue total").parent) == plain(enqueued)
    assert linked(spans.one("process total")) == [plain(third.context)]


@CHORDS
def test_the_callback_of_a_late_pipeline_is_in_the_chords_trace(
    huey, instrumented, spans, drain
):
    instrumented(link_after=30)

    @huey.task()
    def number(value):
        return value

    @huey.task()
    def total(values):
        pass

    member = number.s(1, delay=60).then(number).then(number)
    huey.enqueue(api.chord([member], total.s()))
    drain()
    drain.ripe()

    late = {span.context.trace_id for span in spans.named("process number")}
    assert late.isdisjoint({spans.one("enqueue chord").context.trace_id})
    assert len(late) == 1
    enqueued = spans.named("enqueue number")[0].context
    assert plain(spans.one("enqueue total").parent) == plain(enqueued)


@CHORDS
def test_a_member_that_was_done_without_us_has_no_link(huey, instrumented, spans):
    @huey.task()
    def number(value):
        return value

    @huey.task()
    def total(values):
        totals.append(values)

    totals: list[list[int]] = []
    seen = instrumented()
    huey.enqueue(api.chord([number.s(1), number.s(2)], total.s()))
    seen.instrumentation.uninstrument()
    huey.execute(huey.dequeue())
    instrumented()
    Drain(huey)()

    assert totals == [[1, 2]]
    assert linked(spans.one("process total")) == [
        plain(spans.one("process number").context)
    ]


@pytest.mark.parametrize(
    ("body", "outcome", "error", "message"),
    [
        (_returns, "success", None, None),
        (_raises, "error", "ValueError", "bad " + "x" * 1_020),
        (_retries, "retry_requested", None, None),
        (_cancels, "canceled", None, None),
        (_leaves, "error", "SystemExit", "3"),
        (_interrupted, "interrupted", None, None),
        (
            _mute,
            "error",
            f"{HERE}._mute.<locals>.MuteError",
            "<exception str() failed: RuntimeError>",
        ),
    ],
    ids=["success", "error", "retry", "cancel", "exit", "interrupt", "mute"],
)
def test_outcomes(huey, seen, spans, body, outcome, error, message):
    _ends_like(huey, seen, spans, huey.task()(body), outcome, error, message)


def _ends_like(huey, seen, spans, task, outcome, error, message):
    task()
    with contextlib.suppress(SystemExit):
        huey.execute(huey.dequeue())

    name = f"process {task.task_class.__name__}"
    (span, *_) = spans.named(name)
    assert span.attributes["huey.task.outcome"] == outcome
    assert span.attributes.get("error.type") == error
    expected = StatusCode.UNSET if error is None else StatusCode.ERROR
    assert (span.status.status_code, span.status.description) == (expected, message)
    recorded = [
        (event.name, event.attributes["exception.type"]) for event in span.events
    ]
    assert recorded == ([] if error is None else [("exception", error)])
    for event in span.events:
        assert event.attributes["exception.message"] == message
        assert len(event.attributes["exception.stacktrace"].encode()) <= 16_384
        assert event.timestamp == int(_end_of_run(seen) * 1e9)


def _end_of_run(seen):
    (ended,) = [one for one in seen.published if one.get("duration") is not None]
    return ended["timestamp"]


def test_a_locked_task_is_no_error(huey, seen, spans):
    @huey.task()
    def locked():
        with huey.lock_task("lock"):
            pass

    with huey.lock_task("lock"):
        _ends_like(huey, seen, spans, locked, "locked", None, None)


@pytest.mark.skipif(not hasattr(Huey, "rate_limit"), reason="huey 2 has no limits")
def test_a_rate_limited_task_is_no_error(huey, seen, spans):
    @huey.task()
    def limited():
        with huey.rate_limit("limit", 0, per=60, retry=False):
            pass

    _ends_like(huey, seen, spans, limited, "rate_limited", None, None)


def test_a_result_that_cannot_be_stored_is_told_in_the_span(huey, seen, spans):
    def refuse(*_args, **_options):
        raise OSError("full")

    @huey.task()
    def add():
        return 1

    add()
    huey.storage.put_data = refuse
    with pytest.raises(OSError, match="full"):
        huey.execute(huey.dequeue())

    span = spans.one("process add")
    assert span.attributes["huey.task.outcome"] == "success"
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "full",
    )


SECRET = "a card's number"


def _fails_to_run(huey):
    @huey.task(retries=1)
    def fail():
        raise ValueError(SECRET)

    fail()
    return "process fail"


def _fails_to_store(huey):
    def refuse(*_args, **_options):
        raise ValueError(SECRET)

    _adding(huey)()
    huey.storage.put_data = refuse
    return "process add"


def _fails_to_enqueue(huey):
    def refuse(*_args, **_options):
        raise ValueError(SECRET)

    huey.storage.enqueue = refuse
    with pytest.raises(ValueError, match=SECRET):
        _adding(huey)()
    return "enqueue add"


def _fails_to_enqueue_a_batch(huey):
    def refuse(*_args, **_options):
        raise ValueError(SECRET)

    if not hasattr(api, "group"):
        pytest.skip("huey 2 has no groups")
    huey.storage.enqueue = refuse
    with pytest.raises(ValueError, match=SECRET):
        huey.enqueue(api.group([_adding(huey).s()]))
    return "enqueue group"


def _adding(huey):
    @huey.task()
    def add():
        return 1

    return add


@pytest.mark.parametrize(
    "act",
    [_fails_to_run, _fails_to_store, _fails_to_enqueue, _fails_to_enqueue_a_batch],
    ids=lambda act: act.__name__,
)
def test_without_tracebacks_nothing_but_the_class_of_an_exception_is_told(
    huey, instrumented, spans, drain, act
):
    registry = CollectorRegistry()
    seen = instrumented(
        tracebacks=False, semconv_metrics=True, publish_enqueued=True, registry=registry
    )

    name = act(huey)
    drain()

    failed = [span for span in spans.named(name) if span.events]
    told = [
        (dict(span.events[0].attributes), span.status.description) for span in failed
    ]
    assert {*map(repr, told)} == {repr(({"exception.type": "ValueError"}, None))}
    everything = [span.to_json() for span in spans.all]
    everything += [json.dumps(event) for event in seen.events]
    everything.append(generate_latest(registry).decode())
    assert [text for text in everything if SECRET in text] == []


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


def test_an_unsampled_parent_stays_unsampled(huey, instrumented, spans, drain):
    seen = instrumented()

    @huey.task(retries=1)
    def add():
        flags.append(trace.get_current_span().get_span_context().trace_flags)
        raise ValueError

    flags: list[int] = []
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))
    context = trace.set_span_in_context(NonRecordingSpan(parent))
    token = contexts.attach(context)
    add()
    contexts.detach(token)
    drain()

    assert spans.all == []
    assert [flag & TraceFlags.SAMPLED for flag in flags] == [0, 0]
    assert all("trace_id" not in event for event in seen.published)


def test_a_producer_that_does_not_sample_decides_for_the_worker(huey, spans, drain):
    off = Spans(ParentBased(ALWAYS_OFF))
    producer = Seen(huey, tracer_provider=off.provider)

    @huey.task()
    def add():
        pass

    add()
    producer.instrumentation.uninstrument()
    Seen(huey, tracer_provider=spans.provider)
    drain()

    assert spans.all == []


def test_baggage_is_carried_but_not_over_a_link(huey, instrumented, drain):
    instrumented(propagation=lambda task: "link" if task.retries else "child")

    @huey.task()
    def show():
        inside.append(dict(baggage.get_all()))

    inside: list[object] = []
    token = contexts.attach(baggage.set_baggage("user", "me"))
    show()
    huey.enqueue(show.s(retries=1))
    contexts.detach(token)
    drain()

    assert inside == [{"user": "me"}, {}]


def test_baggage_over_4_kb_is_left_out(huey, seen, spans, drain):
    @huey.task()
    def show():
        inside.append(dict(baggage.get_all()))

    inside: list[object] = []
    context = contexts.Context()
    for number in range(3):
        context = baggage.set_baggage(f"key{number}", "x" * 1_500, context)
    token = contexts.attach(context)
    show()
    contexts.detach(token)
    drain()

    assert inside == [{}]
    assert spans.trees == [{"enqueue show": {"process show": {}}}]


class _Odd:
    """A propagator that adds headers of its own, in all sizes and types."""

    fields: frozenset[str] = frozenset()

    def inject(self, carrier, context=None, setter=None):
        trace.propagation.tracecontext.TraceContextTextMapPropagator().inject(
            carrier, context
        )
        carrier["number"] = 7
        carrier["long"] = "x" * 10_000

    def extract(self, carrier, context=None, getter=None):
        return trace.propagation.tracecontext.TraceContextTextMapPropagator().extract(
            carrier, context
        )


def test_headers_that_do_not_fit_do_not_take_the_trace_along(
    huey, seen, spans, drain, monkeypatch
):
    monkeypatch.setattr(propagate, "propagator", _Odd())

    @huey.task()
    def add():
        pass

    add()
    drain()

    assert spans.trees == [{"enqueue add": {"process add": {}}}]


def test_without_a_provider_an_ambient_context_still_propagates(huey, drain):
    Seen(huey, tracer_provider=trace.NoOpTracerProvider())

    @huey.task()
    def show():
        inside.append(trace.get_current_span().get_span_context())

    inside: list[SpanContext] = []
    parent = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1))
    token = contexts.attach(trace.set_span_in_context(NonRecordingSpan(parent)))
    show()
    contexts.detach(token)
    drain()

    assert [plain(ids) for ids in inside] == [plain(parent)]


def test_a_task_put_on_the_schedule_by_hand_keeps_what_is_current(
    huey, seen, spans, drain
):
    @huey.task()
    def add():
        pass

    with spans.tracer.start_as_current_span("request"):
        huey.add_schedule(add.s(eta=EARLIER))
    drain.ripe()

    assert spans.trees == [{"request": {"process add": {}}}]


def test_immediate_mode_nests(spans):
    huey = MemoryHuey("my-app", immediate=True)
    Seen(huey, tracer_provider=spans.provider)

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
def chord() -> type:
    found = getattr(api, "chord", None)
    if found is None:
        pytest.skip("huey 2 has no chords")
    return found


@pytest.mark.parametrize("inside", [True, False], ids=["request", "nothing"])
def test_a_chord_is_one_trace(huey, seen, spans, drain, chord, inside):
    @huey.task()
    def member(number):
        return number

    @huey.task()
    def callback(numbers):
        return sum(numbers)

    around = spans.tracer.start_as_current_span("request")
    with around if inside else contextlib.nullcontext():
        huey.enqueue(chord([member.s(1), member.s(2)], callback.s()))
    drain()

    callback_ran = {"enqueue callback": {"process callback": {}}}
    members = {
        "enqueue member": {"process member": {}},
        "enqueue member'": {"process member": callback_ran},
    }
    assert spans.trees == [{"request" if inside else "enqueue chord": members}]
    if not inside:
        batch = spans.one("enqueue chord")
        assert batch.kind is SpanKind.CLIENT
        assert dict(batch.attributes) == {
            m.MESSAGING_SYSTEM: "huey",
            m.MESSAGING_OPERATION_NAME: "enqueue",
            m.MESSAGING_OPERATION_TYPE: "send",
            m.MESSAGING_DESTINATION_NAME: "my-app",
            m.MESSAGING_CLIENT_ID: CLIENT.id,
            m.MESSAGING_BATCH_MESSAGE_COUNT: 2,
        }


def test_a_chord_that_cannot_be_enqueued_leaves_no_span_current(
    huey, seen, spans, chord
):
    @huey.task()
    def member():
        pass

    with pytest.raises(ValueError, match="group"):
        huey.enqueue(chord([api.group([member.s()])], member.s()))

    assert spans.one("enqueue chord").status.status_code is StatusCode.ERROR


def test_a_group_is_one_trace(huey, seen, spans, drain, chord):
    @huey.task()
    def member(number):
        return number

    huey.enqueue(api.group([member.s(1), member.s(2)]))
    drain()

    assert spans.trees == [
        {
            "enqueue group": {
                "enqueue member": {"process member": {}},
                "enqueue member'": {"process member": {}},
            }
        }
    ]


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
