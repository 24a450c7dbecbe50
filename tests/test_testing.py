"""What an application's own tests see of its queue."""

import pytest
from huey import MemoryHuey
from huey.api import Huey
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from huey_otel import instrument
from huey_otel._setup.instrument import instrumentation_of
from huey_otel.testing import Telemetry, capture
from tests.support.recorded import Drain, Recorded
from tests.support.spans import Spans, short


def add_to(huey: Huey):
    @huey.task()
    def add(a, b):
        return a + b

    return add


def told(telemetry: Telemetry) -> tuple[list[str], list[str]]:
    return (
        [short(span) for span in telemetry.spans],
        [event["status"] for event in telemetry.events],
    )


ONE = (["enqueue add", "process add"], ["started", "finished"])


def test_an_immediate_task_is_captured(huey):
    huey.immediate = True
    add = add_to(huey)

    with capture(huey) as telemetry:
        assert add(1, 2)() == 3

        assert told(telemetry) == ONE

    assert type(huey) is MemoryHuey


def test_a_huey_that_becomes_immediate_is_captured(huey):
    add = add_to(huey)

    with capture(huey) as telemetry:
        huey.immediate = True
        add(1, 2)

    assert told(telemetry) == ONE


def test_a_task_executed_by_hand_is_captured(huey, drain):
    add = add_to(huey)

    with capture(huey) as telemetry:
        add(1, 2)
        drain()

    enqueue, process = telemetry.spans
    started, finished = telemetry.events
    assert process.parent.span_id == enqueue.context.span_id
    assert started["trace_id"] == f"{process.context.trace_id:032x}"
    assert finished["name"] == "tests.test_testing.add"


def test_a_task_of_a_consumer_thread_is_captured(huey):
    add = add_to(huey)

    with capture(huey) as telemetry:
        consumer = huey.create_consumer(
            workers=1, initial_delay=0.01, max_delay=0.01, periodic=False
        )
        consumer.start()
        add(1, 2)
        telemetry.wait(lambda seen: len(seen.events) == 2)
        consumer.stop(graceful=True)

    assert told(telemetry) == ONE


def test_the_applications_settings_hold_and_its_outputs_get_nothing(huey, drain):
    theirs = Spans()
    seen = Recorded(huey, tracer_provider=theirs.provider, span_naming="queue")
    add = add_to(huey)

    add(1, 2)
    drain()
    with capture(huey) as telemetry:
        add(1, 2)
        drain()
    add(1, 2)
    drain()

    assert [span.name for span in telemetry.spans] == [
        *("enqueue my-app", "process my-app"),
    ]
    assert [event["status"] for event in telemetry.events] == ["started", "finished"]
    assert len(theirs.all) == 4
    assert instrumentation_of(huey) is seen.instrumentation


def test_captures_nest(huey, drain):
    add = add_to(huey)

    with capture(huey) as outer:
        with capture(huey) as inner:
            add(1, 2)
            drain()
        assert told(outer) == ([], [])
        add(1, 2)
        drain()

    assert told(inner) == told(outer) == ONE


def test_clear_forgets_spans_and_events(huey, drain):
    add = add_to(huey)

    with capture(huey) as telemetry:
        add(1, 2)
        drain()
        telemetry.clear()
        assert told(telemetry) == ([], [])
        add(1, 2)
        drain()

    assert told(telemetry) == ONE


def test_spans_of_the_test_itself_are_kept(huey, drain):
    add = add_to(huey)

    with capture(huey) as telemetry:
        tracer = telemetry.tracer_provider.get_tracer("tests")
        with tracer.start_as_current_span("request"):
            add(1, 2)

    assert [span.name for span in telemetry.spans] == [
        *("request", "enqueue tests.test_testing.add"),
    ]


def test_an_enqueued_event_is_kept_when_asked_for(huey):
    instrument(huey, publish_enqueued=True)
    add = add_to(huey)

    with capture(huey) as telemetry:
        add(1, 2)

    assert [event["status"] for event in telemetry.events] == ["enqueued"]


def test_a_wait_that_fails_lists_spans_and_events(huey):
    add = add_to(huey)

    with capture(huey) as telemetry:
        add(1, 2)
        with pytest.raises(TimeoutError, match=r"enqueue tests.test_testing.add"):
            telemetry.wait(lambda seen: len(seen.events) == 1, timeout=0)


def test_capture_raises_when_disabled(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")

    with (
        pytest.raises(RuntimeError, match="HUEY_OTEL_DISABLED is set"),
        capture(huey),
    ):
        raise AssertionError("captured")


def test_capture_raises_when_the_sdk_is_disabled(huey, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")

    with pytest.raises(RuntimeError, match="OTEL_SDK_DISABLED is set"), capture(huey):
        raise AssertionError("captured")

    assert type(huey) is MemoryHuey


def test_unsampled_spans_are_captured(huey, drain, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    add = add_to(huey)

    ids = SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(0))
    with capture(huey) as telemetry, use_span(NonRecordingSpan(ids)):
        add(1, 2)
        drain()

    assert told(telemetry) == ONE


def test_an_error_ends_the_capture(huey):
    with pytest.raises(ZeroDivisionError), capture(huey):
        raise ZeroDivisionError

    assert type(huey) is MemoryHuey
    Drain(huey)()


def test_captured_events_are_numbered_as_published_ones_are(huey):
    huey.immediate = True
    add = add_to(huey)

    with capture(huey) as telemetry:
        add(1, 2)
        add(3, 4)

    assert [event["seq"] for event in telemetry.events] == [1, 2, 3, 4]
    assert len({event["publisher"] for event in telemetry.events}) == 1
