"""Settings: argument beats environment beats default."""

import dataclasses

import pytest

from huey_otel import _names as n
from huey_otel import _settings
from huey_otel._export import read_export
from huey_otel._exposed import Exposed
from huey_otel._settings import Settings
from huey_otel._values import UNSET

NOTHING_GIVEN = {
    "events": UNSET,
    "channel": UNSET,
    "publish_enqueued": UNSET,
    "tracebacks": UNSET,
    "flush_timeout": UNSET,
    "propagation": UNSET,
    "link_after": UNSET,
    "span_naming": UNSET,
    "envelope": UNSET,
    "semconv_metrics": UNSET,
    "metrics_host": UNSET,
    "metrics_port": UNSET,
    "duration_buckets": UNSET,
    "wait_buckets": UNSET,
}

DEFAULTS = Settings(
    disabled=False,
    events_off=False,
    events_url=None,
    channel=None,
    publish_enqueued=False,
    tracebacks=True,
    flush_timeout=5.0,
    propagation="auto",
    link_after=600.0,
    span_naming="task",
    envelope=False,
    semconv_metrics=False,
    export=read_export({}),
    metrics_export=read_export({}, "metrics"),
    exposed=Exposed(
        host="localhost",
        port=9464,
        duration_buckets=n.DURATION_BUCKETS,
        wait_buckets=n.WAIT_BUCKETS,
    ),
)


def read(env=None, **given):
    return _settings.read(**{**NOTHING_GIVEN, **given}, env=env or {})


def changed(**changes):
    return dataclasses.replace(DEFAULTS, **changes)


def test_defaults():
    assert read() == DEFAULTS


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({"events": None}, {"events_off": True}, id="no events"),
        pytest.param({"events": object()}, {}, id="an emitter"),
        pytest.param({"channel": "ch"}, {"channel": "ch"}, id="channel"),
        pytest.param({"channel": None}, {}, id="channel=None"),
        pytest.param(
            {"publish_enqueued": True}, {"publish_enqueued": True}, id="enqueued"
        ),
        pytest.param({"tracebacks": False}, {"tracebacks": False}, id="tracebacks"),
        pytest.param({"flush_timeout": 0}, {"flush_timeout": 0.0}, id="an int"),
        pytest.param({"flush_timeout": 1.5}, {"flush_timeout": 1.5}, id="a float"),
    ],
)
def test_arguments(given, expected):
    assert read(**given) == changed(**expected)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"HUEY_OTEL_DISABLED": "1"}, {"disabled": True}),
        ({"HUEY_OTEL_DISABLED": "0"}, {}),
        ({"HUEY_OTEL_DISABLED": ""}, {}),
        ({"HUEY_OTEL_DISABLED": " Yes "}, {"disabled": True}),
        ({"HUEY_OTEL_EVENTS": "off"}, {"events_off": True}),
        ({"HUEY_OTEL_EVENTS": "None"}, {"events_off": True}),
        ({"HUEY_OTEL_EVENTS": "on"}, {}),
        ({"HUEY_OTEL_EVENTS": ""}, {}),
        ({"HUEY_OTEL_EVENTS": "redis://r:1/0"}, {"events_url": "redis://r:1/0"}),
        ({"HUEY_OTEL_CHANNEL": "ch"}, {"channel": "ch"}),
        ({"HUEY_OTEL_CHANNEL": ""}, {}),
        ({"HUEY_OTEL_PUBLISH_ENQUEUED": "true"}, {"publish_enqueued": True}),
        ({"HUEY_OTEL_TRACEBACKS": "off"}, {"tracebacks": False}),
        *(
            ({f"HUEY_OTEL_{name}": empty}, {})
            for name in (
                *("TRACEBACKS", "PROPAGATION", "SPAN_NAMING", "FLUSH_TIMEOUT"),
                *("LINK_AFTER", "METRICS_PORT", "METRICS_HOST", "WAIT_BUCKETS"),
            )
            for empty in ("", " ")
        ),
        ({"HUEY_OTEL_FLUSH_TIMEOUT": "0.5"}, {"flush_timeout": 0.5}),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) or "default",
)
def test_environment(env, expected):
    assert read(env) == changed(**expected)


def test_arguments_beat_the_environment():
    env = {
        "HUEY_OTEL_EVENTS": "redis://r:1/0",
        "HUEY_OTEL_CHANNEL": "env",
        "HUEY_OTEL_PUBLISH_ENQUEUED": "1",
        "HUEY_OTEL_TRACEBACKS": "0",
        "HUEY_OTEL_FLUSH_TIMEOUT": "9",
    }

    settings = read(
        env,
        events=None,
        channel="given",
        publish_enqueued=False,
        tracebacks=True,
        flush_timeout=1,
    )

    assert settings == changed(events_off=True, channel="given", flush_timeout=1.0)


def test_an_emitter_beats_the_url_of_the_environment():
    settings = read({"HUEY_OTEL_EVENTS": "redis://r:1/0"}, events=object())

    assert settings == DEFAULTS


def test_the_process_environment_is_read_at_the_call(monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_CHANNEL", "late")
    monkeypatch.delenv("HUEY_OTEL_METRICS_PORT")

    settings = _settings.read(**NOTHING_GIVEN)

    assert settings == changed(channel="late")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channel": 1}, "channel=1: expected a str, or None for the queue's name"),
        ({"publish_enqueued": 1}, "publish_enqueued=1: expected True or False"),
        ({"tracebacks": "no"}, "tracebacks='no': expected True or False"),
        (
            {"flush_timeout": "5"},
            "flush_timeout='5': expected a number of seconds, 0 or more",
        ),
        (
            {"flush_timeout": True},
            "flush_timeout=True: expected a number of seconds, 0 or more",
        ),
        (
            {"flush_timeout": None},
            "flush_timeout=None: expected a number of seconds, 0 or more",
        ),
    ],
    ids=str,
)
def test_an_argument_of_a_wrong_type_is_refused(given, message):
    with pytest.raises(TypeError) as refusal:
        read(**given)

    assert str(refusal.value) == message


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_a_timeout_that_is_no_time_is_refused(seconds):
    with pytest.raises(ValueError, match="expected a number of seconds, 0 or more"):
        read(flush_timeout=seconds)


def test_an_empty_channel_is_refused():
    with pytest.raises(ValueError, match="channel='': expected a name"):
        read(channel="")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"HUEY_OTEL_DISABLED": "maybe"},
            "HUEY_OTEL_DISABLED='maybe': expected one of"
            " 1, true, yes, on, 0, false, no, off",
        ),
        (
            {"HUEY_OTEL_EVENTS": "localhost"},
            "HUEY_OTEL_EVENTS='localhost': expected 'off', or a Redis URL such as"
            " redis://localhost:6379/0",
        ),
        (
            {"HUEY_OTEL_FLUSH_TIMEOUT": "soon"},
            "HUEY_OTEL_FLUSH_TIMEOUT='soon': expected a number of seconds, 0 or more",
        ),
        (
            {"HUEY_OTEL_FLUSH_TIMEOUT": "-1"},
            "HUEY_OTEL_FLUSH_TIMEOUT='-1': expected a number of seconds, 0 or more",
        ),
        (
            {"HUEY_OTEL_FLUSH_TIMEOUT": "inf"},
            "HUEY_OTEL_FLUSH_TIMEOUT='inf': expected a number of seconds, 0 or more",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_environment_is_refused(env, message):
    with pytest.raises(ValueError, match="expected") as refusal:
        read(env)

    assert str(refusal.value) == message
