"""stream=: where there is no Redis for events, there is no stream."""

import pytest
from huey import MemoryHuey, RedisHuey

from huey_otel import instrument
from tests.support.event_logs import needs_event_names

ADDRESS = "redis://127.0.0.1:1/0"
EXPECTED = "expected stream=None, or events= with a Redis, on which the stream is kept"


@pytest.mark.parametrize("stream", [True, "on", 500, "app-events"])
def test_a_stream_of_a_queue_without_a_redis_is_refused(huey, stream):
    with pytest.raises(ValueError, match="stream=") as refusal:
        instrument(huey, stream=stream)

    assert str(refusal.value) == (
        f"stream={stream!r}: the queue has no Redis; {EXPECTED}"
    )
    assert type(huey) is MemoryHuey


@pytest.mark.parametrize(
    "events", [None, pytest.param("otlp", marks=needs_event_names)]
)
def test_a_stream_beside_events_that_are_not_on_redis_is_refused(monkeypatch, events):
    huey = RedisHuey("my-app", url=ADDRESS)
    with pytest.raises(ValueError, match="no events go to Redis") as argument:
        instrument(huey, stream=True, events=events)
    monkeypatch.setenv("HUEY_OTEL_STREAM", "on")
    with pytest.raises(ValueError, match="no events go to Redis") as variable:
        instrument(huey, events=events)

    assert [str(one.value) for one in (argument, variable)] == [
        f"stream=True: no events go to Redis; {EXPECTED}",
        f"HUEY_OTEL_STREAM: no events go to Redis; {EXPECTED}",
    ]


@needs_event_names
def test_events_as_log_records_too_leave_the_stream():
    huey = RedisHuey("my-app", url=ADDRESS)

    shown = repr(instrument(huey, events="redis,otlp", stream=True))

    assert "stream 'huey.events.myapp' of 10,000 entries; and as log records" in shown


@pytest.mark.parametrize("stream", ["off", None, False])
def test_a_stream_that_is_off_needs_no_redis(huey, stream):
    assert instrument(huey, stream=stream).settings.stream is None
    instrument(huey).uninstrument()
    assert instrument(huey, stream=stream, events=None).settings.stream is None


def test_the_variable_is_for_all_queues_and_those_without_a_redis_go_without(
    huey, monkeypatch
):
    monkeypatch.setenv("HUEY_OTEL_STREAM", "on")

    shown = repr(instrument(huey))

    assert "events off, the queue has no Redis" in shown


def test_a_queue_in_immediate_mode_may_have_a_stream_for_later():
    huey = RedisHuey("my-app", url=ADDRESS, immediate=True)

    assert instrument(huey, stream=True).settings.stream.entries == 10_000


def test_nothing_is_refused_while_all_is_disabled(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")

    instrument(huey, stream=True)
    instrument(MemoryHuey("other"), stream=True, events=None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ""),
        ({"stream": True}, ", stream 'huey.events.my-app' of 10,000 entries"),
        ({"stream": 500}, ", stream 'huey.events.my-app' of 500 entries"),
        ({"stream": "app:events"}, ", stream 'app:events' of 10,000 entries"),
        (
            {"stream": True, "channel": "ops"},
            ", stream 'huey.events.ops' of 10,000 entries",
        ),
    ],
)
def test_an_instrumentation_says_which_stream_it_writes(huey, options, said):
    shown = repr(instrument(huey, events=ADDRESS, **options))

    channel = options.get("channel", "my-app")
    assert f"events on channel {channel!r} of redis://127.0.0.1:1{said}; spans" in shown


def test_a_second_call_with_another_stream_is_refused(huey):
    first = instrument(huey, events=ADDRESS, stream=True)

    assert instrument(huey, stream="on") is first
    assert instrument(huey, stream=10_000) is first
    with pytest.raises(ValueError, match="instrumented already"):
        instrument(huey, stream=20_000)
