"""What each of huey's storages holds, and what it costs to ask."""

import datetime
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huey import (
    BlackHoleHuey,
    FileHuey,
    MemoryHuey,
    PriorityRedisExpireHuey,
    PriorityRedisHuey,
    RedisExpireHuey,
    RedisHuey,
    SqliteHuey,
    storage,
)
from huey.api import Huey
from huey.serializer import Serializer, SignedSerializer
from huey.storage import MemoryStorage

from huey_otel import _names as n
from huey_otel import instrument
from huey_otel._storage import layouts
from huey_otel._storage.carriers import reader_of
from huey_otel._storage.contents import Contents, Meaning, contents
from tests.support.postgres import PostgresServer, binaries
from tests.support.programs import missing
from tests.support.redis_server import serving

Make = Callable[..., Huey]


redis_server = pytest.fixture(scope="module")(serving)


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    if not hasattr(storage, "PostgresStorage"):
        pytest.skip("huey 2 knows no Postgres")
    programs = binaries()
    if programs is None:
        missing("a Postgres server")
    with PostgresServer(programs) as server:
        yield server


def peewee(**options: Any) -> Huey:
    from huey.contrib.sql_huey import SqlHuey

    path = options.pop("filename")
    return SqlHuey("shop", database=f"sqlite:///{path}", **options)


def postgres(**options: Any) -> Huey:
    from huey import PostgresHuey

    return PostgresHuey("shop", **options)


KINDS = {
    "memory": MemoryHuey,
    "sqlite": SqliteHuey,
    "file": FileHuey,
    "peewee": peewee,
    "postgres": postgres,
    "redis": RedisHuey,
    "redis expire": RedisExpireHuey,
    "redis priority": PriorityRedisHuey,
    "redis priority expire": PriorityRedisExpireHuey,
}
WITH_PRIORITY = [kind for kind in KINDS if kind not in ("redis", "redis expire")]
# To count results, they would read each one.
UNCOUNTED = ("file", "redis expire", "redis priority expire")


@pytest.fixture
def make(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a huey named shop of a *kind*, instrumented unless it is to be bare."""
    made: list[Huey] = []

    def make(kind: str, *, bare: bool = False, **options: Any) -> Huey:
        if kind == "peewee":
            huey = peewee(filename=tmp_path / "peewee.db", **options)
        elif kind == "postgres":
            dsn = request.getfixturevalue("postgres_server").dsn
            huey = postgres(dsn=dsn, **options)
        else:
            if kind == "sqlite":
                options["filename"] = str(tmp_path / "huey.db")
            elif kind == "file":
                options["path"] = str(tmp_path / "files")
            elif kind.startswith("redis"):
                options["url"] = request.getfixturevalue("redis_server").url
            huey = KINDS[kind]("shop", **options)
        made.append(huey)
        if not bare:
            instrument(huey, events=None)
        huey.task(name="add")(lambda *_: None)
        return huey

    yield make
    for huey in made:
        huey.storage.flush_all()
        if hasattr(huey.storage, "pool"):
            huey.storage.pool.disconnect()
        huey.storage.close()


def task(huey: Huey, *arguments: object, **options: Any) -> Any:
    (kind,) = huey._registry._registry.values()
    return kind(arguments, {}, **options)


def asked(huey: Huey) -> Contents:
    meaning = Meaning(carrier=reader_of(huey.serializer), now=huey._get_timestamp)
    return contents("shop", huey.storage, meaning)


def ago(monkeypatch: pytest.MonkeyPatch, seconds: float, do: Callable[[], Any]) -> None:
    """Call *do* while all clocks are slow."""
    now = time.time
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: now() - seconds)
        do()


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=5)


@pytest.mark.parametrize("kind", KINDS)
def test_storage_tells_how_much_it_holds_and_for_how_long(make, monkeypatch, kind):
    huey = make(kind)
    empty = asked(huey)
    ago(monkeypatch, 100, lambda: huey.enqueue(task(huey)))
    huey.enqueue(task(huey))
    now = huey._get_timestamp()
    for minutes in (-2, -1, 60):
        eta = now + datetime.timedelta(minutes=minutes)
        huey.add_schedule(task(huey, eta=eta))
    huey.put_result("one", 1)
    huey.put_result("two", 2)

    none, two = (None, None) if kind in UNCOUNTED else (0, 2)
    assert empty == Contents(0, 0, none, None, None)
    assert asked(huey) == Contents(2, 3, two, about(100), about(120))


@pytest.mark.parametrize("kind", WITH_PRIORITY)
def test_oldest_message_is_found_behind_those_of_a_higher_priority(
    make, monkeypatch, kind
):
    huey = make(kind)
    for seconds, priority in ((100, 1), (50, 5), (20, 0), (10, 9)):
        message = task(huey, priority=priority)
        ago(monkeypatch, seconds, lambda message=message: huey.enqueue(message))

    assert asked(huey).oldest == about(100)


@pytest.mark.parametrize("kind", WITH_PRIORITY)
def test_queue_of_too_many_priorities_is_not_searched(make, kind):
    huey = make(kind)
    for priority in range(70):
        huey.enqueue(task(huey, priority=priority))

    answer = asked(huey)

    assert answer.queue == 70
    assert (answer.oldest is None) == (kind not in ("memory", "file"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin"])
@pytest.mark.parametrize("utc", [True, False], ids=["utc", "local"])
def test_what_is_overdue_does_not_depend_on_the_time_zone(
    make, monkeypatch, kind, zone, *, utc
):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        huey = make(kind, utc=utc)
        future = huey._get_timestamp() + datetime.timedelta(minutes=10)
        huey.add_schedule(task(huey, eta=future))
        before = asked(huey)
        past = huey._get_timestamp() - datetime.timedelta(minutes=10)
        huey.add_schedule(task(huey, eta=past))

        assert (before.overdue, asked(huey).overdue) == (None, about(600))
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.parametrize("kind", KINDS)
def test_scheduled_task_without_a_time_is_not_due_since_1970(make, kind):
    huey = make(kind)
    huey.add_schedule(task(huey))

    assert asked(huey)[:2] == (0, 1)
    assert asked(huey).overdue is None


@pytest.mark.parametrize(
    ("enqueued", "due", "age"),
    [(100, None, 100), (100, 40, 40), (100, 300, 100), (100, -50, 100)],
    ids=["at once", "due since", "due before", "not due yet"],
)
def test_message_waits_from_when_it_is_on_the_queue_and_due(
    make, monkeypatch, enqueued, due, age
):
    huey = make("redis")
    eta = None
    if due is not None:
        eta = huey._get_timestamp() - datetime.timedelta(seconds=due)
    ago(monkeypatch, enqueued, lambda: huey.enqueue(task(huey, eta=eta)))

    assert asked(huey).oldest == about(age)


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_age_is_read_through_signature_and_compression(
    make, monkeypatch, losses, *, compression, signed
):
    serializer = Serializer(compression=compression)
    if signed:
        serializer = SignedSerializer(secret="s", compression=compression)
    huey = make("redis", serializer=serializer)
    ago(monkeypatch, 100, lambda: huey.enqueue(task(huey)))

    assert asked(huey).oldest == about(100)
    assert losses.counts() == {}


class Unreadable:
    def __reduce__(self):
        return os.abort, ()


def test_age_is_learned_without_unpickling(make):
    huey = make("redis")
    huey.enqueue(task(huey, Unreadable()))

    assert asked(huey).oldest == about(0)


@pytest.mark.parametrize("kind", ["memory", "postgres", "redis", "sqlite"])
def test_age_of_a_message_without_a_carrier_is_absent(make, kind):
    huey, bare = make(kind), make(kind, bare=True)
    if kind == "memory":
        bare.storage = huey.storage
    bare.enqueue(task(bare))

    answer = asked(huey)

    assert (answer.queue, answer.oldest) == (1, None)


def test_age_of_a_large_message_is_absent(make, monkeypatch):
    monkeypatch.setattr(layouts, "LARGEST_READ", 10_000)
    for kind in ("redis", "sqlite", "peewee"):
        huey = make(kind)
        huey.enqueue(task(huey, "x" * 20_000))

        answer = asked(huey)

        assert (answer.queue, answer.oldest) == (1, None), kind


def test_message_that_cannot_be_read_loses_only_its_age(make, losses, caplog):
    huey = make("redis", serializer=SignedSerializer(secret="s"))
    huey.enqueue(task(huey))
    message = huey.storage.conn.lpop(huey.storage.queue_key)
    huey.storage.conn.lpush(huey.storage.queue_key, message[:-1] + b"?")

    answers = [asked(huey) for _ in range(3)]

    assert answers == [Contents(1, 0, 0, None, None)] * 3
    assert losses.counts() == {n.LOSS_GAUGES: 1}
    assert "the storage of 'shop' does not tell its oldest message" in caplog.text


def test_storage_with_another_layout_is_only_asked_for_its_lengths():
    class Own(MemoryStorage):
        def enqueue(self, data: bytes, priority: float | None = None) -> None:
            self._queue.append(data)

        def add_to_schedule(self, data: bytes, ts: object) -> None:
            self._schedule.append(data)

        def result_store_size(self) -> int:
            raise AssertionError("would count for minutes")

    own = Own("shop")
    own.enqueue(b"one")
    own.add_to_schedule(b"two", None)

    assert contents("shop", own, Meaning()) == Contents(1, 1, None, None, None)


def test_black_hole_holds_nothing():
    huey = BlackHoleHuey("shop")
    huey.task(name="add")(lambda *_: None)
    huey.enqueue(task(huey))

    assert asked(huey) == Contents(0, 0, 0, None, None)


def test_asking_takes_a_bounded_number_of_commands_of_redis(make, redis_server):
    huey = make("redis priority")
    for priority in range(5):
        huey.enqueue(task(huey, priority=priority))
    conn = huey.storage.conn
    conn.config_resetstat()

    asked(huey)

    counted = conn.info("commandstats")
    calls = {name: found["calls"] for name, found in counted.items()}
    assert calls.pop("cmdstat_zrangebyscore") == 6
    assert calls.pop("cmdstat_eval") == 2
    assert {name for name in calls if "range" in name} == {"cmdstat_zrange"}
    assert calls["cmdstat_zrange"] == 1
