"""We reach Redis as the queue does: over TLS, by Sentinel, with its own pool."""

import functools
import gc
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import redis
from huey import MemoryHuey, RedisHuey
from redis.backoff import ConstantBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry
from redis.sentinel import Sentinel

from huey_otel import EventListener, RedisEventEmitter, instrument
from huey_otel._options.values import Stream
from huey_otel._prometheus import queue_gauges
from huey_otel._prometheus.queue_gauges import Poller
from huey_otel._redis.pages import PageWriter
from huey_otel._redis.publisher import Publisher
from huey_otel._storage.contents import Contents, Meaning
from huey_otel._wire.page import Head
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.cli.exporter.answers import Answers
from huey_otel.cli.exporter.look import Look
from huey_otel.cli.target import Queues
from tests.support.forks import open_descriptors
from tests.support.programs import free_port, missing
from tests.support.redis_server import RedisServer, server_binary, serving
from tests.support.waiting import wait_until

redis_server = pytest.fixture(scope="module")(serving)

FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))
SOURCE = Source(queue="shop", host="host", worker_type="thread")


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a scrape wait for an answer as long as a busy machine takes for it."""
    monkeypatch.setattr(queue_gauges, "_LONGEST_WAIT", 60.0)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost, signed by itself."""
    if shutil.which("openssl") is None:
        missing("openssl")
    path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=path,
        check=True,
        capture_output=True,
    )
    return path


@pytest.fixture(scope="module")
def tls_port(certificates: Path) -> Iterator[int]:
    if server_binary() is None:
        missing("a Redis server")
    port = free_port()
    with RedisServer(
        *("--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificates / "cert.pem")),
        *("--tls-key-file", str(certificates / "key.pem")),
    ):
        yield port


class SentinelServer(RedisServer):
    """A Sentinel that watches the master at *port* under the name jobs."""

    def __init__(self, port: int, directory: Path) -> None:
        file = directory / "sentinel.conf"
        file.write_text(
            f"sentinel monitor jobs 127.0.0.1 {port} 1\n"
            "sentinel down-after-milliseconds jobs 1000\n"
            "sentinel failover-timeout jobs 5000\n"
        )
        super().__init__()
        start = self._command.index("--bind")
        self._command[start:start] = [str(file), "--sentinel"]
        end = self._command.index("--save")
        del self._command[end:]


@contextmanager
def watched(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, int]]:
    """A master, its replica, and the port of the Sentinel that watches them."""
    if server_binary() is None:
        missing("a Redis server")
    with (
        RedisServer() as master,
        RedisServer("--replicaof", f"127.0.0.1 {master.port}") as replica,
        SentinelServer(master.port, tmp_path) as sentinel,
    ):
        yield master, replica, sentinel.port


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, int]]:
    with watched(tmp_path) as parts:
        yield parts


class Own(redis.Connection):
    """A connection of the application's own kind, which knows where to connect."""

    where: tuple[str, int] = ("", 0)

    def _connect(self) -> Any:
        self.host, self.port = self.where
        return super()._connect()


class Ticket(CredentialProvider):
    """Hands out a password that no settings hold."""

    def get_credentials(self) -> tuple[str, str]:
        return "user", "secret"


class Elsewhere(redis.ConnectionPool):
    """A pool that finds its server elsewhere than its settings say."""

    def make_connection(self) -> Any:
        connection = super().make_connection()
        connection.port = self.right_port  # type: ignore[attr-defined]
        return connection


def by_factory(server: RedisServer) -> redis.ConnectionPool:
    return redis.ConnectionPool(
        lambda **settings: redis.Connection(**settings),
        host="127.0.0.1",
        port=server.port,
    )


def by_partial(server: RedisServer) -> redis.ConnectionPool:
    kind = functools.partial(redis.Connection, host="127.0.0.1")
    return redis.ConnectionPool(kind, port=server.port)


def elsewhere(server: RedisServer) -> redis.ConnectionPool:
    pool = Elsewhere(host="127.0.0.1", port=1)
    pool.right_port = server.port  # type: ignore[attr-defined]
    return pool


def own_kind(server: RedisServer) -> redis.ConnectionPool:
    Own.where = ("127.0.0.1", server.port)
    return redis.ConnectionPool(connection_class=Own, host="nowhere.invalid", port=1)


def signed_in(server: RedisServer) -> redis.ConnectionPool:
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command(
            *("ACL", "SETUSER", "user", "on", ">secret", "~*", "&*", "+@all")
        )
    return redis.ConnectionPool(
        host="127.0.0.1", port=server.port, credential_provider=Ticket()
    )


WAYS: dict[str, Callable[[RedisServer], redis.ConnectionPool]] = {
    "url": lambda server: redis.ConnectionPool.from_url(server.url),
    "database": lambda server: redis.ConnectionPool.from_url(server.url[:-1] + "7"),
    "resp3": lambda server: redis.ConnectionPool.from_url(server.url, protocol=3),
    "unix socket": lambda server: redis.ConnectionPool.from_url(server.unix_url),
    "blocking": lambda server: redis.BlockingConnectionPool.from_url(
        server.url, max_connections=2, timeout=1
    ),
    "one connection": lambda server: redis.BlockingConnectionPool.from_url(
        server.url, max_connections=1, timeout=1
    ),
    "named": lambda server: redis.ConnectionPool.from_url(server.url, client_name="a"),
    "retrying": lambda server: redis.ConnectionPool.from_url(
        server.url,
        retry=Retry(ConstantBackoff(0.01), 3),
        retry_on_error=[redis.ConnectionError],
        retry_on_timeout=True,
    ),
    "own encoding": lambda server: redis.ConnectionPool.from_url(
        server.url, encoding="latin-1"
    ),
    "own class": own_kind,
    "own pool": elsewhere,
    "factory": by_factory,
    "partial": by_partial,
    "credential provider": signed_in,
}


def seen_and_held(huey: Any, channel: str | None = None) -> tuple[list[str], Any]:
    """The events of one task, and the gauges while another one waits."""
    instrumentation = instrument(huey, metrics_port=None)
    add = huey.task(name="add")(lambda: None)
    inquirer = Poller("q", lambda: huey.storage, Meaning())
    events: list[Any] = []
    emitter, own = huey.storage._huey_otel_events
    listener = EventListener(emitter, channel or own)
    thread = threading.Thread(target=lambda: events.extend(listener), daemon=True)
    thread.start()
    huey.storage.flush_all()
    add()
    huey.execute(huey.dequeue())
    assert instrumentation.flush(60.0)
    wait_until(lambda: len(events) == 2)
    add()
    held = inquirer.wait(inquirer.ask())
    listener.close()
    thread.join(60)
    inquirer.close()
    if inquirer._thread is not None:
        inquirer._thread.join(60)
    instrumentation.uninstrument()
    return [event["status"] for event in events], held


def about(seconds: float) -> Any:
    return pytest.approx(seconds, abs=60)


WHOLE = (["started", "finished"], Contents(1, 0, 0, about(0), None))


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_events_and_gauges_connect_as_the_queue_does(redis_server, losses, way):
    pool = way(redis_server)
    huey = RedisHuey("my-app", connection_pool=pool)

    told = seen_and_held(huey)

    pool.disconnect()
    assert told == WHOLE
    assert losses.counts() == {}


def test_a_queue_over_tls_is_served_and_shown_as_one(certificates, tls_port, losses):
    url = f"rediss://localhost:{tls_port}/0"
    pool = redis.ConnectionPool.from_url(
        url, ssl_ca_certs=str(certificates / "cert.pem")
    )
    huey = RedisHuey("my-app", connection_pool=pool)

    told = seen_and_held(huey)

    pool.disconnect()
    assert told == WHOLE
    shown = RedisEventEmitter(connection_pool=pool).address
    assert shown == f"rediss://localhost:{tls_port}"
    assert losses.counts() == {}


def test_a_certificate_that_the_queue_does_not_trust_is_not_trusted(tls_port):
    connection = RedisEventEmitter(
        url=f"rediss://localhost:{tls_port}/0"
    ).connections.to_publish()

    with pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        connection.connect()


def test_a_service_is_found_by_its_sentinel(sentinel, losses):
    master, _, port = sentinel
    manager = Sentinel([("127.0.0.1", port)])
    pool = manager.master_for("jobs").connection_pool
    huey = RedisHuey("my-app", connection_pool=pool)

    told = seen_and_held(huey)

    pool.disconnect()
    for each in manager.sentinels:
        each.connection_pool.disconnect()
    assert told == WHOLE
    with redis.Redis.from_url(master.url) as admin:
        assert admin.exists("huey.redis.myapp")
    assert losses.counts() == {}


def test_events_follow_a_failover_of_sentinels(sentinel):
    _, replica, port = sentinel
    manager = Sentinel([("127.0.0.1", port)])
    pool = manager.master_for("jobs").connection_pool
    huey = MemoryHuey("my-app")
    emitter = RedisEventEmitter(connection_pool=pool, channel="q")
    instrumentation = instrument(huey, events=emitter, metrics_port=None)
    add = huey.task(name="add")(lambda: None)
    heard: list[Any] = []
    listener = EventListener(emitter, "q")
    thread = threading.Thread(target=lambda: heard.extend(listener), daemon=True)
    thread.start()
    huey.execute(add.s())
    wait_until(lambda: len(heard) == 2)

    with redis.Redis(port=port) as asking:
        wait_until(lambda: fails_over(asking))
    wait_until(lambda: manager.discover_master("jobs")[1] == replica.port)
    with redis.Redis.from_url(replica.url) as admin:
        wait_until(lambda: admin.role()[0] in ("master", b"master"))
        wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])
    wait_until(lambda: bool(huey.execute(add.s())) or len(heard) > 2)

    listener.close()
    thread.join(60)
    instrumentation.uninstrument()
    for each in manager.sentinels:
        each.connection_pool.disconnect()


@pytest.mark.parametrize("use", ["to_publish", "to_read", "to_write", "to_ask"])
def test_no_connection_to_a_sentinel_stays_open(
    sentinel: tuple[RedisServer, RedisServer, int], use: str
) -> None:
    """The garbage collector, which may not come for hours, is not waited for."""
    manager = Sentinel([("127.0.0.1", sentinel[2])])
    pool = manager.master_for("jobs").connection_pool
    connections = RedisEventEmitter(connection_pool=pool).connections

    def connect() -> None:
        made = getattr(connections, use)()
        if use == "to_ask":
            made.ping()
            made.connection_pool.disconnect()
        else:
            made.connect()
            made.disconnect()

    connect()
    gc.collect()
    gc.disable()
    try:
        before = open_descriptors()
        for _ in range(5):
            connect()
        after = open_descriptors()
    finally:
        gc.enable()

    assert after == before


def test_the_stream_and_pages_follow_to_the_master_that_sentinels_choose(
    sentinel: tuple[RedisServer, RedisServer, int], losses
) -> None:
    master, replica, port = sentinel
    pool = Sentinel([("127.0.0.1", port)]).master_for("jobs").connection_pool
    emitter = RedisEventEmitter(connection_pool=pool)
    publisher = Publisher(emitter, "q", "shop", Stream())
    head = Head("shop", "web-1:7", 1.0, "0.1.0")
    pages = PageWriter(emitter, "shop", head, lambda **_: "")
    look = Look(Queues(emitter, ("shop",)), None)
    answers = Answers(look)
    listener = EventListener(emitter, "q", stream=True, since="beginning")
    heard: list[int] = []
    thread = threading.Thread(
        target=lambda: heard.extend(event["seq"] for event in listener), daemon=True
    )

    def shown() -> bool:
        return b'state="live"} 1.0' in answers.get("/metrics", "").body

    def send(number: int) -> None:
        for _ in range(number):
            publisher(Record(1, "started", 1.5, 1, 1, None, FACTS, 2, None), SOURCE)

    with (
        redis.Redis.from_url(replica.url) as admin,
        redis.Redis(port=port, decode_responses=True) as asking,
    ):
        pages.begin()
        thread.start()
        send(20)
        wait_until(lambda: heard == [*range(1, 21)] and shown())
        # A replica that lacks them could not have them as the master.
        wait_until(lambda: admin.exists("huey.events.q", "huey.metrics.shop") == 2)
        wait_until(lambda: admin.xlen("huey.events.q") == 20)
        wait_until(lambda: link_is_up(asking))

        master.kill()
        send(20)
        wait_until(lambda: admin.role()[0] == b"master")

        wait_until(lambda: heard == [*range(1, 41)])
        wait_until(shown)
        assert admin.xlen("huey.events.q") == 40
        told = answers.get("/queues?queue=shop", "")
        assert told.status == HTTPStatus.OK
    assert (listener.missed, listener.trimmed, listener.repeated) == (0, 0, 0)
    assert losses.counts() == {}
    listener.close()
    thread.join(10)
    look._client.connection_pool.disconnect()
    pages.close()
    pages._thread.join(10)
    publisher.close(1.0)
    publisher._thread.join(10)


def link_is_up(sentinel: redis.Redis) -> bool:
    """Whether *sentinel*, which asks each ten seconds, knows a replica to promote."""
    found = sentinel.sentinel_slaves("jobs")
    return [one["master-link-status"] for one in found] == ["ok"]


def fails_over(sentinel: redis.Redis) -> bool:
    """Whether *sentinel* begins a failover; it must know a replica that is ready."""
    try:
        sentinel.execute_command("SENTINEL", "FAILOVER", "jobs")
    except redis.ResponseError:
        return False
    return True


def test_a_sentinel_away_is_named_by_the_listener(caplog):
    pool = Sentinel([("127.0.0.1", 1)]).master_for("jobs").connection_pool
    huey = RedisHuey("my-app", connection_pool=pool)
    instrument(huey, metrics_port=None)
    emitter, channel = huey.storage._huey_otel_events

    EventListener(emitter, channel).close()

    (line,) = [entry.getMessage() for entry in caplog.records]
    assert line.startswith(
        "no events can be heard on 'myapp' at redis service jobs, trying again:"
        " No master found for 'jobs'"
    )
    # redis-py adds all that a Sentinel's client consists of.
    assert "<" not in line
    instrument(huey, metrics_port=None).uninstrument()


def test_nothing_of_the_applications_pool_is_used(redis_server):
    pool = redis.ConnectionPool.from_url(redis_server.url)
    pool.get_connection("_") if redis.VERSION < (5, 3) else pool.get_connection()
    before = pool._created_connections, list(pool._available_connections)
    connections = RedisEventEmitter(connection_pool=pool).connections

    asking = connections.to_ask()
    asking.ping()
    asking.connection_pool.disconnect()
    connection = connections.to_publish()
    connection.connect()
    connection.disconnect()

    assert (pool._created_connections, list(pool._available_connections)) == before
    pool.disconnect()
