"""OpenTelemetry's `suppress_instrumentation()`: no span is made."""

import pytest
from huey import MemoryHuey
from huey.api import Huey
from opentelemetry.instrumentation.utils import suppress_instrumentation

from tests.support.recorded import Drain, Recorded
from tests.support.spans import Spans


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def seen(huey: Huey, spans: Spans) -> Recorded:
    return Recorded(huey, tracer_provider=spans.provider)


def test_an_enqueue_has_no_span_and_the_attempt_begins_a_trace(
    huey: Huey, seen: Recorded, spans: Spans, drain: Drain
) -> None:
    @huey.task()
    def send() -> None: ...

    with spans.tracer.start_as_current_span("request"), suppress_instrumentation():
        send()
    drain()

    assert spans.trees == [{"request": {}}, {"process send": {}}]
    assert [event["status"] for event in seen.published] == ["started", "finished"]
    assert seen.published[0]["wait"] is not None


def test_a_group_has_no_span(
    huey: Huey, seen: Recorded, spans: Spans, drain: Drain
) -> None:
    @huey.task()
    def send() -> None: ...

    with suppress_instrumentation():
        send()
        send.map([(), ()])
    assert spans.names == []

    drain()
    assert spans.names == ["process send"] * 3


def test_an_immediate_run_has_no_span_either(spans: Spans) -> None:
    huey = MemoryHuey("my-app", immediate=True)
    seen = Recorded(huey, tracer_provider=spans.provider)

    @huey.task()
    def send() -> None: ...

    with suppress_instrumentation():
        send()

    assert spans.names == []
    assert seen.ends == [("success", "success")]


def test_a_task_that_is_not_run_has_no_span_either(spans: Spans) -> None:
    huey = MemoryHuey("my-app", immediate=True)
    seen = Recorded(huey, tracer_provider=spans.provider)

    @huey.task()
    def send() -> None: ...

    huey.revoke_all(send.task_class)
    with suppress_instrumentation():
        send()

    assert spans.names == []
    assert seen.ends == [(None, "revoked")]


def test_the_next_task_has_its_spans(
    huey: Huey, seen: Recorded, spans: Spans, drain: Drain
) -> None:
    @huey.task()
    def send() -> None: ...

    with suppress_instrumentation():
        send()
    drain()
    spans.clear()

    send()
    drain()

    assert spans.trees == [{"enqueue send": {"process send": {}}}]
