"""A planned failover behind one name: events and gauges follow, or are counted."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from huey import MemoryHuey, RedisHuey
from redis.exceptions import ReadOnlyError

from huey_otel import EventListener, RedisEventEmitter, instrument
from huey_otel import _names as n
from huey_otel._prometheus.queue_gauges import Poller
from huey_otel._redis import subscription as _subscription
from huey_otel._redis.subscription import Subscription
from huey_otel._storage import failover
from huey_otel._storage.connections import Connections
from huey_otel._storage.contents import Meaning
from tests.support.forwarder import Forwarder
from tests.support.programs import missing
from tests.support.redis_server import RedisServer, server_binary
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]

BOUND = 15.0
MESSAGE = '{"status": "started"}'


class Pair:
    """Servers a and b behind one name, and how the second takes over."""

    def __init__(self, a: RedisServer, b: RedisServer, name: Forwarder) -> None:
        self.a, self.b, self.name = a, b, name

    def fail_over(self) -> None:
        """Demote a and lead the name to b; connections to a stay open."""
        self._tell(self.a, "REPLICAOF", "127.0.0.1", str(self.b.port))
        self.name.target = self.b.port

    def mute(self, *commands: str) -> str:
        """A URL with a user that may not use *commands* on either server."""
        for server in (self.a, self.b):
            rules = [f"-{command}" for command in commands]
            self._tell(
                *(server, "ACL", "SETUSER", "user", "on", ">secret", "~*", "&*"),
                *("+@all", *rules),
            )
        return self.name.url.replace("redis://", "redis://user:secret@")

    @staticmethod
    def _tell(server: RedisServer, *command: str) -> None:
        with redis.Redis.from_url(server.url) as admin:
            admin.execute_command(*command)


@pytest.fixture
def pair() -> Iterator[Pair]:
    if server_binary() is None:
        missing("a Redis server")
    with RedisServer() as a, RedisServer() as b, Forwarder(a.port) as name:
        yield Pair(a, b, name)


@pytest.fixture
def frequent_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check every half second."""
    monkeypatch.setattr(failover, "_INTERVAL", 0.5)
    monkeypatch.setattr(failover, "_LIFETIME", 0.5)
    monkeypatch.setattr(_subscription, "_INTERVAL", 0.5)


@contextmanager
def listening(where: Any, channel: str = "myapp") -> Iterator[list[Any]]:
    events: list[Any] = []
    listener = EventListener(where, channel)
    thread = threading.Thread(target=lambda: events.extend(listener), daemon=True)
    thread.start()
    yield events
    listener.close()
    thread.join(10)


@contextmanager
def publishing(**where: Any) -> Iterator[Callable[[], None]]:
    """Runs a task at each call, whose events go to a Redis that has no queue."""
    huey = MemoryHuey("my-app")
    emitter = RedisEventEmitter(channel="myapp", **where)
    instrumentation = instrument(huey, events=emitter, metrics_port=None)
    add = huey.task(name="add")(lambda: None)

    def run() -> None:
        huey.execute(add.s())
        assert instrumentation.flush(10.0)

    yield run
    instrumentation.uninstrument()


POOLS: dict[str, dict[str, Any]] = {
    "default": {},
    "retrying": {"retry_on_error": [ReadOnlyError]},
}


@pytest.mark.parametrize("options", POOLS.values(), ids=POOLS)
def test_events_follow_the_queue_and_undelivered_ones_are_counted(
    pair, losses, caplog, options
):
    pool = redis.ConnectionPool.from_url(pair.name.url, **options)
    with publishing(connection_pool=pool) as run:
        run()
        pair.fail_over()
        with listening(pair.b.url) as heard:
            sent = 2
            deadline = time.monotonic() + BOUND
            while not heard and time.monotonic() < deadline:
                run()
                sent += 2
            wait_until(lambda: {"started", "finished"} <= statuses(heard))
            wait_until(
                lambda: len(heard) + losses.counts()[n.LOSS_FEED_REPLICA] == sent
            )

    (line,) = [line for line in messages(caplog) if "had become" in line]
    assert line == (
        f"redis://127.0.0.1:{pair.name.port} had become a replica;"
        " events follow to the new master (counted as feed_replica)"
    )


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records]


def statuses(events: list[Any]) -> set[str]:
    return {event["status"] for event in events}


@pytest.mark.parametrize("refused", [["role"], ["role", "info"]], ids=" and ".join)
def test_events_follow_a_server_that_does_not_tell_its_role(
    pair, losses, frequent_checks, refused
):
    with publishing(url=pair.mute(*refused)) as run:
        run()
        pair.fail_over()

        with listening(pair.b.url) as heard:
            wait_until(lambda: bool(run() or heard))


def test_events_received_before_the_failover_are_not_counted_as_lost(
    pair, losses, frequent_checks
):
    with publishing(url=pair.name.url) as run, listening(pair.a.url) as before:
        run()
        wait_until(lambda: len(before) == 2)
        pair.fail_over()

        with listening(pair.b.url) as after:
            wait_until(lambda: bool(run() or after))

    assert losses.counts() == {}


def test_publishing_on_a_replica_goes_on_and_is_logged_once(
    pair, losses, frequent_checks, caplog, monkeypatch
):
    Pair._tell(pair.a, "REPLICAOF", "127.0.0.1", str(pair.b.port))
    made = []
    to_publish = Connections.to_publish

    def spy(connections: Connections) -> Any:
        made.append(connections)
        return to_publish(connections)

    monkeypatch.setattr(Connections, "to_publish", spy)
    with publishing(url=pair.name.url) as run, listening(pair.a.url) as heard:
        sent = 0
        while len(made) < 4:
            run()
            sent += 2
        wait_until(lambda: len(heard) == sent)

    assert messages(caplog) == [
        f"redis://127.0.0.1:{pair.name.port} is a replica; events that reach it go no"
        " further (nothing is lost so far)"
    ]
    assert losses.counts() == {}


@pytest.mark.parametrize("refused", [[], ["role"], ["role", "info"]], ids=str)
def test_queue_gauges_follow_the_queue(pair, losses, frequent_checks, refused):
    huey = RedisHuey("my-app", url=pair.mute(*refused))
    inquirer = Poller("q", lambda: huey.storage, Meaning())
    add = huey.task(name="add")(lambda: None)

    def length() -> int | None:
        held = inquirer.wait(inquirer.ask())
        return None if held is None else held.queue

    add()
    assert length() == 1
    pair.fail_over()
    Pair._tell(pair.a, "REPLICAOF", "127.0.0.1", "1")
    huey.storage.pool.disconnect()
    add()
    add()

    wait_until(lambda: length() == len(huey))
    inquirer.close()
    huey.storage.pool.disconnect()


@pytest.mark.parametrize("refused", [[], ["info"]], ids=str)
def test_a_listener_leaves_a_server_that_was_demoted(pair, frequent_checks, refused):
    with listening(pair.mute(*refused), "q") as heard:
        pair.fail_over()
        Pair._tell(pair.a, "REPLICAOF", "127.0.0.1", "1")

        with redis.Redis.from_url(pair.b.url) as publisher:
            wait_until(lambda: publisher.publish("q", '{"status": "started"}') == 1)
            wait_until(lambda: bool(heard))

    assert heard[0] == {"status": "started"}


def test_a_listener_without_permissions_stays_connected(pair, frequent_checks):
    subscription = Subscription(
        RedisEventEmitter(url=pair.mute("info", "pubsub")).connections, "q"
    )
    subscription.get_message(timeout=5)
    sockets = {subscription.connection._sock}
    for _ in range(3):
        subscription._due = 0.0
        assert subscription.get_message(timeout=0.1) is None
        sockets.add(subscription.connection._sock)
    subscription.close()

    assert len(sockets) == 1


def test_a_raw_listener_gets_only_its_messages_while_checked(pair, frequent_checks):
    huey = RedisHuey("my-app", url=pair.name.url)
    instrumentation = instrument(huey, metrics_port=None)
    with redis.Redis.from_url(pair.a.url) as publisher:
        listener = huey.storage.listener()
        seen = [listener.get_message(timeout=5)["type"]]
        before = publisher.info("commandstats")["cmdstat_subscribe"]["calls"]

        def looked() -> bool:
            message = listener.get_message(timeout=0.05)
            if message is not None:
                seen.append(message["type"])
            stats = publisher.info("commandstats")
            return stats["cmdstat_subscribe"]["calls"] > before + 2

        wait_until(looked)
        publisher.publish("myapp", "hello")
        seen.append(next(listener.listen())["data"])
        listener.close()
    instrumentation.uninstrument()
    huey.storage.pool.disconnect()

    assert seen == ["subscribe", b"hello"]


def test_a_listener_replaces_a_connection_that_a_router_dropped(pair, frequent_checks):
    with listening(pair.name.url, "q") as heard:
        pair.name.forget()

        with redis.Redis.from_url(pair.a.url) as publisher:
            wait_until(lambda: bool(publisher.publish("q", MESSAGE) and heard))

    assert heard[0] == {"status": "started"}


def test_a_slow_listener_is_not_disconnected(pair, frequent_checks):
    connections = RedisEventEmitter(url=pair.name.url).connections
    subscription = Subscription(connections, "q")
    subscription.get_message(timeout=5)
    subscription._due = 0.0
    subscription.get_message(timeout=0)
    socket = subscription.connection._sock
    with redis.Redis.from_url(pair.a.url) as publisher:
        publisher.publish("q", MESSAGE)
        publisher.publish("q", MESSAGE)

        subscription._due = 0.0
        messages = [next(subscription.listen())["type"] for _ in range(2)]

    assert messages == ["message", "message"]
    assert subscription.connection._sock is socket
    subscription.close()
