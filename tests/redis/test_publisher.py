"""The publisher: each event is published once or counted, whatever Redis does."""

import os
import threading
from collections import deque

import pytest
import redis

from huey_otel import RedisEventEmitter
from huey_otel._redis import publisher as _publisher
from huey_otel._redis.publisher import Publisher
from huey_otel._wire.record import Record, Source, TaskFacts
from tests.support.programs import missing
from tests.support.redis_server import RedisServer, server_binary
from tests.support.waiting import wait_until

FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))
SOURCE = Source(queue="my-app", host="host", worker_type="thread")


def record(key):
    return Record(1, "started", 1.5, os.getpid(), key, None, FACTS, 2, None)


pytestmark = pytest.mark.live


@pytest.fixture
def server():
    if server_binary() is None:
        missing("a Redis server")
    with RedisServer() as running:
        yield running


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def publisher(server):
    made = Publisher(RedisEventEmitter(url=server.url), "q", "shop")
    yield made
    made.close(0.1)
    if made._thread is not None:
        made._thread.join(10)


@pytest.fixture
def received(admin):
    """How many events a subscriber has got since the start."""
    with admin.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe("q")
        got = []

        def number():
            while (message := subscription.get_message(timeout=0.05)) is not None:
                got.append(message["data"])
            return len(got)

        number()
        yield number


def messages(caplog):
    return [entry.getMessage() for entry in caplog.records]


def test_an_event_waits_when_the_thread_cannot_start(
    publisher, received, losses, monkeypatch, caplog
):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for key in range(5):
            publisher(record(key), SOURCE)

    publisher(record(5), SOURCE)

    assert publisher.flush(5.0) is True
    wait_until(lambda: received() == 6)
    assert losses.counts() == {}
    assert messages(caplog) == [
        "the publisher's thread cannot be started, events wait:"
        " can't start new thread (nothing is lost so far)"
    ]


def test_a_pause_of_writes_loses_no_event(
    publisher, admin, received, losses, monkeypatch
):
    monkeypatch.setattr(_publisher, "_PATIENCE", 0.1)
    publisher(record(0), SOURCE)
    publisher.flush(5.0)
    asked = deque()
    check_silence = publisher._check_silence

    def spy(silent, since):
        asked.append(since)
        return check_silence(silent, since)

    publisher._check_silence = spy

    admin.execute_command("CLIENT", "PAUSE", 20_000, "WRITE")
    for key in range(1, 100):
        publisher(record(key), SOURCE)
    wait_until(lambda: len(asked) > 5)
    admin.execute_command("CLIENT", "UNPAUSE")

    assert publisher.flush(10.0) is True
    wait_until(lambda: received() == 100)
    assert losses.counts() == {}


def test_a_connection_without_answers_for_long_is_replaced(
    publisher, admin, received, losses, monkeypatch, caplog
):
    monkeypatch.setattr(_publisher, "_PATIENCE", 0.1)
    monkeypatch.setattr(_publisher, "_LONGEST_SILENCE", 0.3)
    publisher(record(0), SOURCE)
    publisher.flush(5.0)

    admin.execute_command("CLIENT", "PAUSE", 20_000, "WRITE")
    publisher(record(1), SOURCE)

    wait_until(lambda: losses.by_queue() == {("shop", "feed_unconfirmed"): 1})
    wait_until(lambda: len(messages(caplog)) == 2)
    assert messages(caplog)[1] == (
        f"{publisher.server} is away: the connection is dead, its answers never came;"
        " new events wait, and those that it has not confirmed are lost"
        " (counted as feed_unconfirmed)"
    )
    admin.execute_command("CLIENT", "UNPAUSE")


def test_a_server_that_hangs_loses_no_event(
    publisher, server, received, losses, monkeypatch
):
    monkeypatch.setattr(_publisher, "_PATIENCE", 0.1)
    monkeypatch.setattr(_publisher, "_LONGEST_SILENCE", 0.3)
    publisher(record(0), SOURCE)
    publisher.flush(5.0)
    asked = []
    check_silence = publisher._check_silence

    def spy(silent, since):
        answer = check_silence(silent, since)
        asked.append(answer)
        return answer

    publisher._check_silence = spy

    server.pause()
    for key in range(1, 100):
        publisher(record(key), SOURCE)
    wait_until(lambda: bool(asked))
    server.resume()

    assert publisher.flush(10.0) is True
    wait_until(lambda: received() == 100)
    assert losses.counts() == {}


def test_closing_while_redis_hangs_does_not_log_a_recovery(
    publisher, server, losses, monkeypatch, caplog
):
    monkeypatch.setattr(_publisher, "_PATIENCE", 0.1)
    publisher(record(0), SOURCE)
    publisher.flush(5.0)
    server.pause()
    publisher(record(1), SOURCE)
    wait_until(lambda: any("does not answer" in line for line in messages(caplog)))

    publisher.close(0.1)
    publisher._thread.join(10)

    assert not any("again" in line for line in messages(caplog))
    assert losses.by_queue() == {("shop", "feed_shutdown"): 1}


def test_events_after_the_end_are_counted(publisher, received, losses):
    publisher(record(0), SOURCE)
    publisher.close(5.0)

    for key in range(1, 4):
        publisher(record(key), SOURCE)

    assert losses.by_queue() == {("shop", "feed_shutdown"): 3}
    assert received() == 1
