"""A second instrument() of one huey: the same again, or a refusal."""

import copy
import threading

import pytest
from huey import MemoryHuey
from prometheus_client import REGISTRY
from redis import ConnectionPool, Redis, UsernamePasswordCredentialProvider
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from huey_otel import (
    RedisEventEmitter,
    instrument,
)

ADDRESS = "redis://127.0.0.1:1/0"


SAME = {
    "nothing": {},
    "the defaults": {"tracebacks": True, "metrics_port": 9464, "link_after": 600},
    "in words": {"tracebacks": "on", "events": "on"},
    "the channel": {"channel": "ch"},
}


@pytest.mark.parametrize("options", SAME.values(), ids=list(SAME))
def test_a_second_call_returns_the_same(huey, monkeypatch, options):
    monkeypatch.delenv("HUEY_OTEL_METRICS_PORT")
    first = instrument(huey, channel="ch")
    kind = type(huey)

    second = instrument(huey, **options)

    assert second is first
    assert type(huey) is kind


def test_a_second_call_with_a_like_emitter_returns_the_same(huey):
    first = instrument(huey, events=ADDRESS, channel="ch")

    assert instrument(huey, events=ADDRESS) is first
    assert instrument(huey, events=RedisEventEmitter(url=ADDRESS)) is first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel": "other"}, "channel='other': {} channel='ch'; {}"),
        ({"tracebacks": "no"}, "tracebacks='no': {} tracebacks=True; {}"),
        ({"metrics_port": 1}, "metrics_port=1: {} metrics_port=0; {}"),
        ({"wait_buckets": [1]}, "wait_buckets=<list>: {} wait_buckets=<tuple>; {}"),
        ({"events": ADDRESS}, f"events={ADDRESS!r}: {{}} events=True; {{}}"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_second_call_with_other_options_is_refused(
    huey, monkeypatch, options, message
):
    monkeypatch.setenv("HUEY_OTEL_METRICS_PORT", "0")
    instrument(huey, channel="ch")

    with pytest.raises(ValueError, match="instrumented already") as refusal:
        instrument(huey, **options)

    assert str(refusal.value) == message.format(
        "this huey is instrumented already, with",
        "expected the same, or uninstrument(huey) first",
    )


def test_a_second_call_checks_its_arguments_all_the_same(huey):
    instrument(huey)

    with pytest.raises(TypeError):
        instrument(huey, channel=3)


def test_threads_that_instrument_at_once_get_the_same(huey):
    together = threading.Barrier(8)
    got = []

    def begin():
        together.wait()
        got.append(instrument(huey))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [one is got[0] for one in got] == [True] * 8


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"events": "redis://u:a@h"}, {"events": "redis://v:b@h"}),
        ({"events": ADDRESS}, {"events": f"{ADDRESS}?socket_timeout=1"}),
    ],
)
def test_a_second_emitter_that_differs_in_anything_is_refused(huey, first, second):
    instrument(huey, **first)

    with pytest.raises(ValueError, match="instrumented already") as refusal:
        instrument(huey, **second)

    assert "b@" not in str(refusal.value)


def held(retries: int, password: str) -> RedisEventEmitter:
    """An emitter with settings whose classes have no equality of their own."""
    pool = ConnectionPool(
        retry=Retry(ExponentialBackoff(), retries),
        credential_provider=UsernamePasswordCredentialProvider("u", password),
    )
    return RedisEventEmitter(client=Redis(connection_pool=pool))


def test_a_second_emitter_whose_settings_hold_the_same_is_alike(huey):
    first = instrument(huey, events=held(3, "a"))

    assert instrument(huey, events=held(3, "a")) is first


@pytest.mark.parametrize(("retries", "password"), [(4, "a"), (3, "b")])
def test_a_second_emitter_whose_settings_hold_another_is_refused(
    huey, retries, password
):
    instrument(huey, events=held(3, "a"))

    with pytest.raises(ValueError, match="instrumented already"):
        instrument(huey, events=held(retries, password))


def of_a_sentinel(port: int, service: str) -> RedisEventEmitter:
    sentinel = Sentinel([("127.0.0.1", 1), ("127.0.0.1", port)])
    return RedisEventEmitter(client=sentinel.master_for(service))


def test_a_second_emitter_of_the_same_sentinels_service_is_alike(huey):
    first = instrument(huey, events=of_a_sentinel(2, "jobs"))

    assert instrument(huey, events=of_a_sentinel(2, "jobs")) is first


@pytest.mark.parametrize(("port", "service"), [(3, "jobs"), (2, "mail")])
def test_a_second_emitter_of_another_sentinels_service_is_refused(huey, port, service):
    instrument(huey, events=of_a_sentinel(2, "jobs"))

    with pytest.raises(ValueError, match="instrumented already"):
        instrument(huey, events=of_a_sentinel(port, service))


def test_a_second_call_may_name_the_defaults(huey):
    first = instrument(huey)

    again = instrument(huey, channel="my-app", registry=REGISTRY)

    assert again is first


def test_a_copy_of_an_instrumented_huey_is_instrumented_itself():
    huey = MemoryHuey("one")
    instrument(huey)
    other = copy.copy(huey)
    other.name = "two"

    instrumentation = instrument(other)
    seen = [one._huey_otel.outputs.route.source.queue for one in (huey, other)]
    instrumentation.uninstrument()

    assert seen == ["one", "two"]
    assert type(other) is MemoryHuey
    assert type(huey) is not MemoryHuey
