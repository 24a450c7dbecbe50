"""Servers that know or allow little: events and gauges do without the rest."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from huey import MemoryHuey, PriorityRedisHuey, RedisHuey

from huey_otel import EventListener, RedisEventEmitter, instrument
from huey_otel import _names as n
from huey_otel._prometheus.queue_gauges import Poller
from huey_otel._storage.contents import Contents, Meaning
from tests.support.forwarder import Forwarder
from tests.support.programs import missing
from tests.support.redis_server import RedisServer, server_binary
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]

NARROW = (
    "+@read +@write +@blocking +@transaction +eval +evalsha +script|load"
    " +publish +ping &myapp ~huey.*"
)
HUEYS = [RedisHuey, PriorityRedisHuey]


def renamed(*commands: str) -> list[str]:
    return [word for name in commands for word in ("--rename-command", name, "")]


@contextmanager
def serving(*options: str) -> Iterator[RedisServer]:
    if server_binary() is None:
        missing("a Redis server")
    with RedisServer(*options) as server:
        yield server


def url_of(server: RedisServer, rules: str = "", options: str = "") -> str:
    """The URL of *server*, as a user with *rules* if any; RESP2, so without HELLO."""
    url = f"{server.url}?protocol=2{options}"
    if not rules:
        return url
    with redis.Redis.from_url(url) as admin:
        admin.execute_command(
            "ACL", "SETUSER", "user", "reset", "on", ">secret", *rules.split()
        )
    return url.replace("redis://", "redis://user:secret@")


@contextmanager
def heard(listener: EventListener) -> Iterator[list[Any]]:
    events: list[Any] = []
    thread = threading.Thread(target=lambda: events.extend(listener), daemon=True)
    thread.start()
    yield events
    listener.close()
    thread.join(10)


@contextmanager
def gauges(huey: Any) -> Iterator[Callable[[], Contents | None]]:
    inquirer = Poller("q", lambda: huey.storage, Meaning())
    yield lambda: inquirer.wait(inquirer.ask())
    inquirer.close()
    if inquirer._thread is not None:
        inquirer._thread.join(10)


def run_a_task(huey: Any) -> list[str]:
    """The events of one task on *huey*'s listener; another task waits afterwards."""
    instrumentation = instrument(huey, metrics_port=None)
    huey.task(name="add")(lambda: None)
    (kind,) = huey._registry._registry.values()
    emitter, channel = huey.storage._huey_otel_events
    with heard(EventListener(emitter, channel)) as events:
        huey.enqueue(kind())
        huey.execute(huey.dequeue())
        assert instrumentation.flush(10.0)
        wait_until(lambda: len(events) == 2)
    huey.enqueue(kind())
    huey.add_schedule(kind(eta=huey._get_timestamp()))
    return [event["status"] for event in events]


def let_go(huey: Any) -> None:
    instrument(huey).uninstrument()
    huey.storage.pool.disconnect()


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=60)


UNKNOWN = {
    "CLIENT": ["CLIENT"],
    "PING": ["PING"],
    "HELLO": ["HELLO"],
    "EVAL": ["EVAL"],
    "SELECT": ["SELECT"],
    "INFO and ROLE": ["INFO", "ROLE"],
    "PUBSUB and INFO": ["PUBSUB", "INFO"],
    "all of them": [*["CLIENT", "PING", "HELLO", "EVAL", "INFO", "ROLE", "PUBSUB"]],
}


@pytest.mark.parametrize("kind", HUEYS)
@pytest.mark.parametrize("commands", UNKNOWN.values(), ids=UNKNOWN)
def test_a_server_that_does_not_know_an_optional_command_is_served(
    losses, kind, commands
):
    with serving(*renamed(*commands)) as server:
        huey = kind("my-app", url=url_of(server))

        seen = run_a_task(huey)
        with gauges(huey) as ask:
            held = ask()

        let_go(huey)
    assert seen == ["started", "finished"]
    assert held == Contents(1, 1, 0, about(0), about(0))
    assert losses.counts() == {}


@pytest.mark.parametrize("commands", [["CLIENT"], ["PING"]], ids="".join)
def test_commands_that_resp3_and_a_client_name_bring_are_not_needed(losses, commands):
    with serving(*renamed(*commands)) as server:
        huey = RedisHuey("my-app", url=f"{server.url}?protocol=3")

        seen = run_a_task(huey)
        with gauges(huey) as ask:
            held = ask()

        let_go(huey)
    assert seen == ["started", "finished"]
    assert held == Contents(1, 1, 0, about(0), about(0))
    assert losses.counts() == {}


ALLOWED = {
    "much": NARROW,
    "no scripts of ours": f"{NARROW} -eval",
    "no connection's commands": f"{NARROW} -@connection",
    "a read at a time": (
        "+multi +exec +hexists +hget +lpush +rpop +brpop +bzpopmin +zadd +hdel +hmget"
        " +hset +hsetnx +hlen +llen +zcard +lindex +zrange +zrangebyscore +publish"
        " +evalsha +script|load &myapp ~huey.*"
    ),
}


@pytest.mark.parametrize("kind", HUEYS)
@pytest.mark.parametrize("rules", ALLOWED.values(), ids=ALLOWED)
def test_few_permissions_are_enough(losses, kind, rules):
    with serving() as server:
        huey = kind("my-app", url=url_of(server, f"{rules} +subscribe"))

        seen = run_a_task(huey)
        with gauges(huey) as ask:
            held = [ask(), ask()]

        let_go(huey)
    assert seen == ["started", "finished"]
    assert held == [Contents(1, 1, 0, about(0), about(0))] * 2
    assert losses.counts() == {}


REFUSED = {
    "LLEN": {"queue": None},
    "ZCARD": {"schedule": None},
    "HLEN": {"results": None},
    "LINDEX": {"oldest": None},
    "ZRANGE": {"overdue": None},
}


@pytest.mark.parametrize("how", ["unknown", "not allowed"])
@pytest.mark.parametrize(("command", "absent"), REFUSED.items(), ids=REFUSED)
def test_a_refused_command_loses_only_its_own_gauge(losses, how, command, absent):
    options = renamed(command) if how == "unknown" else []
    rules = f"+@all ~* &* -{command}" if how == "not allowed" else ""
    with serving(*options) as server:
        huey = RedisHuey("my-app", url=url_of(server, rules))
        run_a_task(huey)

        with gauges(huey) as ask:
            held = [ask(), ask()]

        let_go(huey)
    whole = Contents(1, 1, 0, about(0), about(0))
    assert held == [whole._replace(**absent)] * 2
    assert losses.counts() == {n.LOSS_GAUGES: 1}


def test_a_proxy_that_hangs_up_at_client_setname_gets_no_name(losses):
    def knows(sent: bytes) -> bool:
        return b"SETNAME" not in sent

    with serving() as server, Forwarder(server.port, knows) as proxy:
        huey = RedisHuey("my-app", url=proxy.url)

        seen = run_a_task(huey)
        with gauges(huey) as ask:
            held = ask()

        let_go(huey)
    assert seen == ["started", "finished"]
    assert held == Contents(1, 1, 0, about(0), about(0))
    assert losses.counts() == {}


def test_a_server_without_databases_takes_events(losses):
    """Pub/sub has no databases, so a refused SELECT does no harm."""
    with serving("--databases", "1") as server:
        huey = RedisHuey("my-app", url=server.url)
        elsewhere = RedisEventEmitter(url=server.url.removesuffix("0") + "5")
        instrumentation = instrument(huey, metrics_port=None, events=elsewhere)
        add = huey.task(name="add")(lambda: None)

        with heard(EventListener(elsewhere, "myapp")) as seen:
            add()
            huey.execute(huey.dequeue())
            assert instrumentation.flush(10.0)
            wait_until(lambda: len(seen) == 2)

        let_go(huey)
    assert losses.counts() == {}


def test_a_redis_that_is_away_is_logged_without_a_loss(losses, caplog):
    with serving() as server:
        huey = RedisHuey("my-app", url=server.url)
        run_a_task(huey)
        emitter = instrument(huey)
        server.stop()
        publisher = emitter._outputs.destinations.current
        before = len(caplog.records)
        publisher._outbox.put(b'{"status": "late"}')
        wait_until(lambda: any("is away" in line for line in said(caplog)[before:]))
        server.start()
        assert publisher.flush(30.0)
        wait_until(lambda: "again" in said(caplog)[-1])
        let_go(huey)

    away, again = said(caplog)[before:]
    assert away.startswith(f"redis://127.0.0.1:{server.port} is away: ")
    assert away.endswith("; events wait for it (nothing is lost so far)")
    assert again == f"events go to redis://127.0.0.1:{server.port} again"
    assert losses.counts() == {}


def said(caplog) -> list[str]:
    return [entry.getMessage() for entry in caplog.records]


def test_events_on_a_server_without_hello_need_no_option(losses):
    """redis-py 8 begins with HELLO unless it is told another protocol."""
    with serving(*renamed("HELLO")) as server:
        huey = MemoryHuey("my-app")
        emitter = RedisEventEmitter(url=server.url)
        instrumentation = instrument(huey, events=emitter, metrics_port=None)
        add = huey.task(name="add")(lambda: None)

        with heard(EventListener(server.url, "my-app")) as seen:
            huey.execute(add.s())
            assert instrumentation.flush(10.0)
            wait_until(lambda: len(seen) == 2)

        instrumentation.uninstrument()
    assert losses.counts() == {}
