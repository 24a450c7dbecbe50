"""The storage of an instrumented huey: its events can be listened to."""

import pytest
from huey import RedisHuey
from huey.api import Huey
from huey.exceptions import ConfigurationError
from huey.serializer import Serializer
from huey.storage import MemoryStorage

from huey_otel import (
    EventListener,
    RedisEventEmitter,
    instrument,
    uninstrument,
)
from huey_otel._hooks.serializer import ObservedSerializer
from huey_otel._hooks.storage import ObservedStorage
from tests.support.recorded import Recorded

ADDRESS = "redis://127.0.0.1:1/0"


def test_a_new_storage_of_immediate_mode_is_observed(huey):
    instrument(huey, events=RedisEventEmitter(url=ADDRESS))

    huey.immediate = True
    immediate = isinstance(huey.storage, ObservedStorage)
    huey.immediate = False
    again = isinstance(huey.storage, ObservedStorage)
    uninstrument(huey)

    assert (immediate, again) == (True, True)
    assert type(huey.storage) is MemoryStorage


def test_a_storage_and_a_serializer_that_are_set_later_are_observed(huey):
    instrument(huey)
    first = huey.serializer

    huey.storage = MemoryStorage("of my own")
    huey.serializer = Serializer(compression=True)
    observed = type(huey.storage).__mro__, type(huey.serializer).__mro__
    uninstrument(huey)

    assert (ObservedStorage in observed[0], ObservedSerializer in observed[1]) == (
        True,
        True,
    )
    assert (type(huey.storage), type(huey.serializer), type(first)) == (
        MemoryStorage,
        Serializer,
        Serializer,
    )


def test_tasks_are_seen_before_and_after_immediate_mode(huey, drain):
    @huey.task()
    def send(): ...

    statuses = []
    for immediate in (False, True, False):
        huey.immediate = immediate
        with instrument(huey):
            seen = Recorded(huey)
            send()
            drain()
            statuses.append([step[0] for step in seen.steps])

    assert statuses == [["started", "finished"]] * 3


def test_a_storage_that_is_replaced_has_its_own_class_again(huey):
    first, second = huey.storage, MemoryStorage("other")
    instrumentation = instrument(huey)

    huey.storage = second
    replaced = type(first), type(second) is MemoryStorage
    instrumentation.uninstrument()

    assert replaced == (MemoryStorage, False)
    assert type(second) is MemoryStorage


def test_without_a_redis_the_storage_says_what_to_pass(huey):
    instrument(huey)

    for listen in (lambda: iter(huey.storage), huey.storage.listener):
        with pytest.raises(ConfigurationError) as refusal:
            listen()
        assert str(refusal.value) == (
            "no Redis carries the events of MemoryStorage: pass"
            " events=RedisEventEmitter(url=...) to instrument(), or set"
            " HUEY_OTEL_EVENTS=redis://..."
        )


def test_with_events_off_the_storage_of_a_redis_huey_says_what_to_pass():
    huey = RedisHuey("my-app", url=ADDRESS)
    instrument(huey, events=None)

    with pytest.raises(
        ConfigurationError, match="no Redis carries the events of Redis"
    ):
        iter(huey.storage)


def test_the_storage_is_not_connected_by_being_observed():
    class LazyStorage(MemoryStorage):
        @property
        def conn(self):
            raise AssertionError("SQLite's and Postgres' storages connect here")

    huey = Huey("my-app", storage_class=LazyStorage)

    instrument(huey)

    assert isinstance(huey.storage, ObservedStorage)


def test_a_listener_of_the_storage_is_an_event_listener(losses):
    huey = RedisHuey("my-app", url=ADDRESS)
    instrument(huey)
    emitter, channel = huey.storage._events()

    listener = EventListener(emitter, channel)
    listener.close()

    assert list(listener) == []
