"""How an attempt joins what enqueued it, and what is carried there."""

import contextvars
import functools
import threading

import pytest
from huey import RetryTask, crontab
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as contexts
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
)

from huey_otel._safety.losses import Losses
from huey_otel._wire.carrier import decode
from tests.support.recorded import EARLIER, LATER, Recorded
from tests.support.spans import Spans, linked, plain, traces


def test_enqueue_is_a_child_of_the_current_span(huey, seen, spans, drain):
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
    return dict(carrier.texts)


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
    producer = Recorded(huey, tracer_provider=off.provider)

    @huey.task()
    def add():
        pass

    add()
    producer.instrumentation.uninstrument()
    Recorded(huey, tracer_provider=spans.provider)
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
    Recorded(huey, tracer_provider=trace.NoOpTracerProvider())

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


def test_a_task_that_the_application_schedules_itself_keeps_the_current_context(
    huey, seen, spans, drain
):
    @huey.task()
    def add():
        pass

    with spans.tracer.start_as_current_span("request"):
        huey.add_schedule(add.s(eta=EARLIER))
    drain.ripe()

    assert spans.trees == [{"request": {"process add": {}}}]
