"""Retries: in which trace they are, and what they link to."""

import pytest
from huey import crontab
from opentelemetry import baggage, trace
from opentelemetry import context as contexts

from tests.support.recorded import EARLIER, LATER, Recorded
from tests.support.spans import linked, plain
from tests.support.waiting import wait_until


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
    producer = Recorded(huey, tracer_provider=trace.NoOpTracerProvider())
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
