"""The listener: what it yields, what it skips, and when it comes back."""

import json
import threading
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import redis

from huey_otel import EventListener
from tests.live.processes import Consumer
from tests.live.received_events import FINISHED, STARTED, ReceivedEvents, steps
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

EVENT = {"status": "finished", "id": "an-id", "error": False}
NO_EVENTS = (
    b"\xff\xfe",
    b"",
    b"not json",
    b'{"status": "cut',
    b"[" * 100_000,
    b"[1, 2]",
    b'"finished"',
    b"null",
    b"{}",
    b'{"status": 1}',
    b'{"id": "x"}',
)


@pytest.fixture
def publisher(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def listeners(client: redis.Redis) -> int:
    ((_, count),) = client.pubsub_numsub("live")
    return int(count)


def test_messages_that_are_no_events_are_skipped_and_counted(
    received: ReceivedEvents, publisher: redis.Redis
) -> None:
    for message in NO_EVENTS:
        publisher.publish("live", message)
    publisher.publish("live", json.dumps(EVENT))
    received.wait_for("an-id", 1)

    assert received.events == [EVENT]
    assert received.listener.skipped == len(NO_EVENTS)


def test_unknown_keys_are_passed_on(
    received: ReceivedEvents, publisher: redis.Redis
) -> None:
    publisher.publish("live", json.dumps(EVENT | {"from_the_future": [1]}))

    assert received.wait_for("an-id", 1) == [EVENT | {"from_the_future": [1]}]


def test_listener_comes_back_after_redis_was_restarted(
    redis_server: RedisServer, received: ReceivedEvents, publisher: redis.Redis
) -> None:
    redis_server.kill()
    redis_server.start()
    wait_until(lambda: listeners(publisher) == 1)
    publisher.publish("live", json.dumps(EVENT))

    assert received.wait_for("an-id", 1) == [EVENT]


def test_listener_comes_back_after_its_connection_was_closed(
    received: ReceivedEvents, publisher: redis.Redis
) -> None:
    (before,) = (client["id"] for client in publisher.client_list("pubsub"))

    publisher.client_kill_filter(_id=before)
    wait_until(lambda: listeners(publisher) == 1)
    publisher.publish("live", json.dumps(EVENT))

    assert received.wait_for("an-id", 1) == [EVENT]


def test_listener_can_be_made_before_redis_is_there(
    redis_server: RedisServer,
    receive_events: Callable[..., ReceivedEvents],
    publisher: redis.Redis,
) -> None:
    redis_server.stop()
    received = receive_events()

    redis_server.start()
    wait_until(lambda: listeners(publisher) == 1)
    publisher.publish("live", json.dumps(EVENT))

    assert received.wait_for("an-id", 1) == [EVENT]


@pytest.mark.parametrize("redis_is", ["there", "away", "hanging"])
def test_close_from_another_thread_ends_the_iteration(
    redis_is: str, redis_server: RedisServer, redis_url: str
) -> None:
    listener = EventListener(redis_url, "live")
    received: list[object] = []
    thread = threading.Thread(target=lambda: received.extend(listener))
    thread.start()
    if redis_is == "away":
        redis_server.stop()
    if redis_is == "hanging":
        redis_server.pause()

    listener.close()
    thread.join(60)

    assert not thread.is_alive()
    assert received == []


def test_listener_as_a_context_closes_its_connection(
    redis_url: str, publisher: redis.Redis
) -> None:
    with EventListener(redis_url, "live"):
        assert listeners(publisher) == 1

    wait_until(lambda: listeners(publisher) == 0)


def test_listener_of_a_client_that_decodes(
    redis_url: str, publisher: redis.Redis
) -> None:
    with (
        redis.Redis.from_url(redis_url, decode_responses=True) as client,
        EventListener(client, "live") as listener,
    ):
        publisher.publish("live", json.dumps(EVENT | {"task": "prüfen"}))

        assert next(iter(listener)) == EVENT | {"task": "prüfen"}


def test_iterating_over_the_storage_may_stop_at_any_event(
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    publisher: redis.Redis,
) -> None:
    app = application()
    received = []

    def listen() -> None:
        for event in app.huey.storage:
            received.append(event)
            if event["status"] == "finished":
                break

    thread = threading.Thread(target=listen)
    thread.start()
    wait_until(lambda: listeners(publisher) == 1)
    consumer("thread", "-n")
    app.add(1, 2)
    thread.join(60)

    assert steps(received) == [STARTED, FINISHED]
    wait_until(lambda: listeners(publisher) == 0)
