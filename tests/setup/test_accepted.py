"""What instrument() accepts and refuses, and what it says then."""

import math

import pytest
from huey import MemoryHuey, RedisHuey

from huey_otel import (
    RedisEventEmitter,
    instrument,
)
from huey_otel._otel import log_records
from tests.support.event_logs import needs_event_names

ADDRESS = "redis://127.0.0.1:1/0"


class MiniHuey:
    """As huey's own of that name, which needs gevent: it shares nothing with Huey."""


class SecretURL:
    """As a URL of another library, which shows all of it."""

    def __repr__(self):
        return "URL('redis://user:secret@host')"


@pytest.mark.parametrize(
    ("thing", "shown"),
    [
        pytest.param("x", "instrument('x')", id="a str"),
        pytest.param(None, "instrument(None)", id="None"),
        pytest.param(MemoryHuey, "instrument(<class", id="a class"),
        pytest.param(
            MiniHuey(),
            "instrument(<tests.setup.test_accepted.MiniHuey",
            id="MiniHuey",
        ),
    ],
)
def test_an_argument_that_is_no_huey_is_refused(thing, shown):
    with pytest.raises(TypeError) as refusal:
        instrument(thing)

    message = str(refusal.value)
    assert message.startswith(shown)
    assert message.endswith(
        ": expected a huey.Huey, such as RedisHuey('my-app')"
        " (a MiniHuey has no consumer and no storage to observe)"
    )


def test_an_unknown_option_is_refused(huey):
    with pytest.raises(TypeError, match="does not know chanel") as refusal:
        instrument(huey, chanel="x", trace=True)

    assert "(did you mean channel?)" in str(refusal.value)
    assert type(huey) is MemoryHuey


@pytest.mark.parametrize("events", [0, object(), RedisEventEmitter])
def test_events_that_are_no_emitter_are_refused(huey, events):
    with pytest.raises(TypeError, match=r"events=.*expected off .*RedisEventEmitter"):
        instrument(huey, events=events)


def test_events_may_be_a_url(huey):
    instrument(huey, events=ADDRESS)

    emitter, channel = huey.storage._huey_otel_events

    assert (emitter.address, channel) == ("redis://127.0.0.1:1", "my-app")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://host:99999/0", " (Port out of range 0-65535)"),
        ("http://host/0", ""),
        ("redis://host/first", " ('first' is no database number)"),
    ],
)
@pytest.mark.parametrize("way", ["events", "HUEY_OTEL_EVENTS"])
def test_a_url_that_is_not_of_redis_is_refused(huey, monkeypatch, way, url, reason):
    options = {"events": url}
    if way != "events":
        monkeypatch.setenv(way, url)
        options = {}

    with pytest.raises(ValueError, match="expected a Redis URL") as refusal:
        instrument(huey, **options)

    assert str(refusal.value).startswith(
        f"{way}: url={url!r}: expected a Redis URL: redis://, rediss:// or unix://"
    )
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "options",
    [
        {"channel": ""},
        {"channel": 1},
        {"publish_enqueued": "perhaps"},
        {"tracebacks": 1},
        {"flush_timeout": -1},
    ],
    ids=str,
)
def test_a_refusal_changes_nothing(huey, options):
    before = dict(vars(huey))

    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        instrument(huey, **options)

    assert type(huey) is MemoryHuey
    assert dict(vars(huey)) == before


def test_a_wrong_url_in_the_environment_is_refused_without_its_password(
    huey, monkeypatch
):
    monkeypatch.setenv("HUEY_OTEL_EVENTS", "http://user:secret@host:1/0")

    with pytest.raises(ValueError, match="HUEY_OTEL_EVENTS") as refusal:
        instrument(huey)

    assert "secret" not in str(refusal.value)
    assert type(huey) is MemoryHuey


@pytest.mark.parametrize(
    ("timeout", "error"), [("1", TypeError), (-1, ValueError), (math.nan, ValueError)]
)
def test_a_flush_refuses_a_timeout_that_is_no_number_of_seconds(huey, timeout, error):
    with pytest.raises(error, match=r"timeout=.*expected a number of seconds"):
        instrument(huey).flush(timeout)


@pytest.mark.parametrize(
    ("options", "env", "channel"),
    [
        # huey leaves out what is no letter or digit.
        pytest.param({}, {}, "myapp", id="the storage's name"),
        pytest.param({"channel": "given"}, {"HUEY_OTEL_CHANNEL": "env"}, "given"),
        pytest.param({}, {"HUEY_OTEL_CHANNEL": "env"}, "env", id="environment"),
        pytest.param(
            {"events": RedisEventEmitter(url=ADDRESS, channel="emitter")},
            {},
            "emitter",
            id="the emitter's",
        ),
        pytest.param(
            {"events": RedisEventEmitter(url=ADDRESS, channel="emitter")},
            {"HUEY_OTEL_CHANNEL": "env"},
            "emitter",
            id="the emitter's beats the environment",
        ),
        pytest.param(
            {
                "events": RedisEventEmitter(url=ADDRESS, channel="emitter"),
                "channel": "emitter",
            },
            {},
            "emitter",
            id="twice the same",
        ),
    ],
)
def test_the_channel_is_the_argument_then_the_variable_then_the_storages_name(
    monkeypatch, options, env, channel
):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    huey = RedisHuey("my-app", url=ADDRESS)

    instrument(huey, **options)

    assert huey.storage._huey_otel_events[1] == channel


TOO_OLD = (
    "expected opentelemetry-sdk 1.37 or newer, whose log records have the names of"
    " events; {} is installed"
)


@pytest.mark.parametrize("way", ["events", "HUEY_OTEL_EVENTS"])
@pytest.mark.parametrize("events", ["otlp", "redis,otlp"])
def test_log_records_are_refused_where_opentelemetry_is_too_old_for_them(
    huey, monkeypatch, way, events
):
    version = log_records.__version__ if log_records.too_old() else "1.36.0"
    monkeypatch.setattr(log_records, "__version__", version)
    options = {"events": events}
    if way != "events":
        monkeypatch.setenv(way, events)
        options = {}

    with pytest.raises(ValueError, match="opentelemetry-sdk") as refusal:
        instrument(huey, **options)

    assert str(refusal.value) == f"{way}={events!r}: {TOO_OLD.format(version)}"
    assert type(huey) is MemoryHuey


def test_disabled_no_version_is_too_old(huey, monkeypatch):
    monkeypatch.setattr(log_records, "__version__", "1.36.0")
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")

    instrument(huey, events="otlp")

    assert type(huey) is MemoryHuey


@needs_event_names
def test_events_as_log_records_alone_leave_none_on_redis():
    huey = RedisHuey("my-app", url=ADDRESS)

    instrumentation = instrument(huey, events="otlp")

    assert huey.storage._huey_otel_events == (None, "myapp")
    assert "events as log records, not asked for yet;" in repr(instrumentation)


@needs_event_names
@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("otlp", "redis,otlp", "'otlp'"),
        ("redis,otlp", True, "'redis,otlp'"),
        ("redis,otlp", "otlp", "'redis,otlp'"),
        (f"{ADDRESS},otlp", "otlp", "<WithLogs>"),
        (None, "otlp", "False"),
        ("otlp", None, "'otlp'"),
    ],
)
def test_a_second_call_with_other_outputs_of_events_is_refused(first, second, shown):
    huey = RedisHuey("my-app", url=ADDRESS)
    known = instrument(huey, events=first)

    assert instrument(huey, events=first) is known
    with pytest.raises(ValueError, match="events=") as refusal:
        instrument(huey, events=second)

    assert str(refusal.value) == (
        f"events={second!r}: this huey is instrumented already, with events={shown};"
        " expected the same, or uninstrument(huey) first"
    )


def test_a_channel_that_is_not_the_emitters_is_refused(huey):
    emitter = RedisEventEmitter(url=ADDRESS, channel="b")

    with pytest.raises(ValueError, match="channel") as refusal:
        instrument(huey, events=emitter, channel="a")

    assert str(refusal.value) == (
        "channel='a': events= has the channel 'b'; expected the same, or one of the two"
    )


def test_the_channel_without_redis_storage_is_the_queues_name(huey):
    instrument(huey, events=RedisEventEmitter(url=ADDRESS))

    assert huey.storage._huey_otel_events[1] == "my-app"


@pytest.mark.parametrize(
    "value", [SecretURL(), [SecretURL()], frozenset([SecretURL()])]
)
def test_an_error_shows_no_password_of_a_value(huey, value):
    with pytest.raises(TypeError, match="events=<") as refusal:
        instrument(huey, events=value)

    assert "secret" not in str(refusal.value)


def test_an_error_names_a_wrong_port_without_the_password_beside_it(huey):
    with pytest.raises(ValueError, match="Port out of range 0-65535") as refusal:
        instrument(huey, events="redis://user:secret@host:99999/0")

    assert "secret" not in str(refusal.value)


def test_an_address_of_ipv6_is_shown_as_it_can_be_used():
    emitter = RedisEventEmitter(url="redis://[::1]:6380/0")

    assert emitter.address == "redis://[::1]:6380"
    assert RedisEventEmitter(url=emitter.address).address == emitter.address
