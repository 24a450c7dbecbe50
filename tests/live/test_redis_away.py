"""A Redis for events that hangs, dies or refuses: tasks do not notice it."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import redis

from tests.live.processes import Consumer, losses
from tests.live.received_events import ReceivedEvents
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

OUTAGE = 10.0
BEFORE = 3.0
SIZE = 15_000
MORE_THAN_FIT = 5 * (8 << 20) // (4 * SIZE)
"""Tasks of which the outbox does not hold the events."""


class Load:
    """Keeps the queue from running empty, and knows when which task ran."""

    def __init__(self, app: ModuleType, ledger: Path, size: int) -> None:
        self._app = app
        self._ledger = ledger
        self._size = size
        self._over = threading.Event()
        self.enqueued = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            if len(self._app.huey) < 100:
                for _ in range(50):
                    self._app.work(self._size)
                    self.enqueued += 1
            self._over.wait(0.02)

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def wait_until_done(self) -> None:
        self.end()
        wait_until(lambda: len(self.times()) == self.enqueued)

    def times(self) -> list[float]:
        if not self._ledger.exists():
            return []
        return sorted(
            map(float, self._ledger.read_text().rpartition("\n")[0].splitlines())
        )

    def wait(self, seconds: float) -> float:
        """Wait until tasks have run for *seconds* from now; their rate."""
        ran = len(self.times())
        wait_until(lambda: len(self.times()) > ran + 20)
        start = self.times()[ran]
        wait_until(lambda: self.times()[-1] - start > seconds, seconds=seconds + 60)
        return sum(start < ended <= start + seconds for ended in self.times()) / seconds


class Place:
    """The consumer's queue, its Redis for events, and the file for its losses."""

    def __init__(self, server: RedisServer, directory: Path) -> None:
        self.way = server.socket_path.with_name("way")
        self.way.symlink_to(server.socket_path)
        self.ledger = directory / "ledger"
        self._dropped = directory / "dropped"
        self.environ = {
            "LIVE_DATABASE": str(directory / "queue.db"),
            "LIVE_LEDGER": str(self.ledger),
            "LIVE_EVENTS_URL": f"unix://{self.way}",
        }
        self.consumer_environ = {**self.environ, "LIVE_DROPPED": str(self._dropped)}

    def run(self, app: ModuleType, count: int) -> None:
        """Enqueue *count* tasks, and return when they have run."""
        for _ in range(count):
            app.work(0)
        wait_until(
            lambda: (
                self.ledger.exists() and len(self.ledger.read_text().split()) == count
            ),
        )

    def dropped(self) -> dict[str, int]:
        """What the consumer counted as lost until its end."""
        return losses(self._dropped)


@pytest.fixture
def place(redis_server: RedisServer, tmp_path: Path) -> Place:
    return Place(redis_server, tmp_path)


@pytest.fixture
def app(application: Callable[..., ModuleType], place: Place) -> ModuleType:
    return application("events_elsewhere", **place.environ)


@pytest.fixture
def load(app: ModuleType, place: Place) -> Iterator[Callable[[int], Load]]:
    started: list[Load] = []

    def start(size: int) -> Load:
        started.append(Load(app, place.ledger, size))
        return started[-1]

    yield start
    for each in started:
        each.end()


def heard(received: ReceivedEvents) -> int:
    return sum(event["task"] == "work" for event in list(received.events))


def test_redis_that_hangs_under_load(
    redis_server: RedisServer,
    place: Place,
    receive_events: Callable[..., ReceivedEvents],
    consumer: Callable[..., Consumer],
    load: Callable[[int], Load],
    caplog: pytest.LogCaptureFixture,
) -> None:
    received = receive_events(url=redis_server.unix_url)
    # More than the outbox holds while Redis hangs, so some events are dropped.
    work = load(SIZE)
    running = consumer(
        "process",
        "-n",
        "-w",
        "2",
        application="events_elsewhere",
        **place.consumer_environ,
    )
    usual = work.wait(BEFORE)

    redis_server.pause()
    ran = len(work.times())
    meanwhile = work.wait(OUTAGE)
    # On a busy machine that takes longer.
    wait_until(lambda: len(work.times()) > ran + MORE_THAN_FIT)
    before = heard(received)
    redis_server.resume()
    wait_until(lambda: heard(received) > before)
    work.wait_until_done()
    running.stop()

    # A busy machine may be slower then; who waits for Redis runs one task in 2 s.
    assert meanwhile > usual / 20
    assert place.dropped().keys() == {"feed_full"}
    received.catch_up()
    missing = 2 * work.enqueued - heard(received)
    lost = sum(place.dropped().values())
    # A listener that is slow may have half a message when Redis stops: it connects
    # again, and misses what comes before that.
    assert 0 < lost <= missing
    assert lost == missing or "no events can be heard" in caplog.text
    assert (received.listener.missed, received.listener.repeated) == (missing, 0)


def test_redis_that_dies_under_load(
    redis_server: RedisServer,
    place: Place,
    receive_events: Callable[..., ReceivedEvents],
    consumer: Callable[..., Consumer],
    load: Callable[[int], Load],
) -> None:
    received = receive_events(url=redis_server.unix_url)
    work = load(0)
    running = consumer(
        "thread",
        "-n",
        "-w",
        "2",
        application="events_elsewhere",
        **place.consumer_environ,
    )
    usual = work.wait(BEFORE)

    # Events on their way to a dying server may have arrived: let it hang first.
    redis_server.pause()
    work.wait(0.5)
    place.way.unlink()
    redis_server.kill()
    meanwhile = work.wait(OUTAGE)
    redis_server.start()
    before = heard(received)
    with redis.Redis.from_url(redis_server.unix_url) as client:
        wait_until(lambda: client.pubsub_numsub("live") == [(b"live", 1)])
    place.way.symlink_to(redis_server.socket_path)
    wait_until(lambda: heard(received) > before)
    work.wait_until_done()
    running.stop()

    # A busy machine may be slower then; who waits for Redis runs one task in 2 s.
    assert meanwhile > usual / 20
    assert place.dropped().keys() == {"feed_unconfirmed"}
    received.catch_up()
    missing = 2 * work.enqueued - heard(received)
    assert sum(place.dropped().values()) == missing > 0
    assert (received.listener.missed, received.listener.repeated) == (missing, 0)


def heard_all(received: ReceivedEvents, work: int) -> None:
    wait_until(lambda: heard(received) == 2 * work)


def permissions(server: RedisServer, *rules: str) -> str:
    """Make a user that may do everything but for *rules*; its URL."""
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command(
            *("ACL", "SETUSER", "feed", "reset", "on", ">secret"),
            *("~*", "&*", "+@all", *rules),
        )
    return f"redis://feed:secret@127.0.0.1:{server.port}"


REFUSALS = {
    "no command": lambda server: permissions(server, "-publish"),
    "no channel": lambda server: permissions(server, "resetchannels"),
    "wrong password": lambda server: permissions(server).replace("secret", "wrong"),
}


@pytest.mark.parametrize("url_of", REFUSALS.values(), ids=REFUSALS.keys())
def test_redis_that_refuses_is_logged_once_and_counted(
    url_of: Callable[[RedisServer], str],
    redis_server: RedisServer,
    place: Place,
    app: ModuleType,
    received: ReceivedEvents,
    consumer: Callable[..., Consumer],
) -> None:
    environ = place.consumer_environ | {
        "LIVE_EVENTS_URL": url_of(redis_server),
        "HUEY_OTEL_FLUSH_TIMEOUT": "0.2",
    }
    running = consumer("process", "-n", application="events_elsewhere", **environ)

    place.run(app, 10)
    wait_until(lambda: "refuses events" in running.log)
    running.stop()

    refusals = [line for line in running.log.splitlines() if "refuses events" in line]
    assert len(refusals) == 1
    assert "secret" not in running.log
    assert "wrong" not in running.log
    assert sum(place.dropped().values()) == 20
    assert place.dropped().keys() <= {"feed_refused", "feed_shutdown"}
    assert received.catch_up() == []


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_redis_that_hangs_holds_up_the_end_no_longer_than_it_may(
    signum: signal.Signals,
    kind: str,
    redis_server: RedisServer,
    place: Place,
    app: ModuleType,
    consumer: Callable[..., Consumer],
) -> None:
    environ = place.consumer_environ | {"HUEY_OTEL_FLUSH_TIMEOUT": "1"}
    running = consumer(
        kind, "-n", "-m", "0.1", application="events_elsewhere", **environ
    )
    redis_server.pause()
    place.run(app, 10)

    start = time.monotonic()
    code = running.stop(signum)
    took = time.monotonic() - start

    assert code == 0
    # Without a limit of its own each of the 20 would wait for 2 s.
    assert 1 <= took < 20
    assert place.dropped() == {"feed_shutdown": 20}


def feeds(admin: redis.Redis) -> list[str]:
    """The ids of the connections that events come from."""
    return [
        client["id"] for client in admin.client_list() if client["name"] == "huey-otel"
    ]


def test_redis_that_closes_idle_connections_loses_nothing(
    redis_server: RedisServer,
    place: Place,
    app: ModuleType,
    received: ReceivedEvents,
    consumer: Callable[..., Consumer],
) -> None:
    running = consumer(
        "process", "-n", application="events_elsewhere", **place.consumer_environ
    )
    with redis.Redis.from_url(redis_server.url) as admin:
        app.work(0)
        heard_all(received, 1)
        for connection in feeds(admin):
            admin.client_kill_filter(_id=connection)
        app.work(0)
        heard_all(received, 2)
        admin.config_set("timeout", 1)
        wait_until(lambda: not feeds(admin))
        app.work(0)
        heard_all(received, 3)
        running.stop()

    assert place.dropped() == {}
    assert " is away" not in running.log
