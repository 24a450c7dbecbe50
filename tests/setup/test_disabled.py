"""HUEY_OTEL_DISABLED: instrument() leaves everything as it is."""

import pytest
from huey import MemoryHuey, RedisHuey
from huey.exceptions import ConfigurationError

from huey_otel import (
    instrument,
)
from huey_otel._hooks.storage import ObservedStorage

ADDRESS = "redis://127.0.0.1:1/0"


def test_disabled_it_touches_nothing(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    before = dict(vars(huey))

    with instrument(huey) as instrumentation:
        assert type(huey) is MemoryHuey
        assert dict(vars(huey)) == before
        assert instrumentation.flush() is True

    assert type(huey) is MemoryHuey


def test_disabled_its_storage_can_still_be_listened_to(monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    monkeypatch.setenv("HUEY_OTEL_CHANNEL", "ch")
    huey = RedisHuey("my-app", url=ADDRESS)
    kind = type(huey.storage)

    with instrument(huey):
        emitter, channel = huey.storage._events()
        listens = iter(huey.storage)

    assert (emitter.address, channel) == ("redis://127.0.0.1:1", "ch")
    assert listens is not None
    assert type(huey.storage) is kind


def test_disabled_a_storage_without_redis_says_what_to_pass(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    instrument(huey)

    with pytest.raises(
        ConfigurationError, match="no Redis carries the events of Memory"
    ):
        iter(huey.storage)


def test_disabled_it_still_refuses_an_argument_that_is_no_huey(monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")

    with pytest.raises(TypeError):
        instrument("x")


def test_disabled_it_looks_at_no_other_variable(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    monkeypatch.setenv("HUEY_OTEL_FLUSH_TIMEOUT", "x")
    monkeypatch.setenv("HUEY_OTEL_METRICS_PORT", "x")

    instrument(huey)

    assert type(huey) is MemoryHuey


def test_disabled_a_wrong_url_in_the_environment_does_not_raise(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    monkeypatch.setenv("HUEY_OTEL_EVENTS", "redis://host:99999/0")

    assert repr(instrument(huey)).endswith(": off, HUEY_OTEL_DISABLED is set>")


def test_disabled_a_second_call_returns_the_same_until_it_is_undone(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    first, second = instrument(huey), instrument(huey)
    monkeypatch.delenv("HUEY_OTEL_DISABLED")
    live = instrument(huey)
    first.uninstrument()

    assert second is first
    assert live is not first
    assert isinstance(huey.storage, ObservedStorage)
    assert instrument(huey) is live
