"""Optional commands: one that breaks a connection is not sent again for an hour."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from huey import RedisHuey
from redis.credentials import CredentialProvider

from huey_otel import EventListener, instrument
from huey_otel._prometheus.queue_gauges import Poller
from huey_otel._redis.connection import PublishingConnection
from huey_otel._redis.subscription import Subscription
from huey_otel._storage import connections as _connections
from huey_otel._storage import optional_commands
from huey_otel._storage.contents import Contents, Meaning
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel._storage.optional_commands import OptionalCommands
from tests.support.forwarder import Forwarder
from tests.support.redis_server import RedisServer, serving
from tests.support.waiting import wait_until


class Connection:
    """Returns prepared answers, and raises those that are exceptions."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.sent: list[str] = []

    def send_command(self, name: str, *_: Any, **__: Any) -> None:
        self.sent.append(name)

    def can_read(self, timeout: float) -> bool:
        return self.sent[-1] in self.answers

    def read_response(self) -> Any:
        answer = self.answers[self.sent[-1]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def disconnect(self) -> None:
        self.sent.append("hang up")

    def connect(self) -> None:
        self.sent.append("connect")


BROKEN = redis.ConnectionError("Connection closed by server.")


@pytest.mark.parametrize("answers", [{"ROLE": BROKEN}, {}], ids=["hung up", "silent"])
def test_a_command_that_breaks_a_connection_is_not_sent_again(answers: Any) -> None:
    optional, connection = OptionalCommands(), Connection(**answers, PING=b"PONG")

    told = [optional.send(connection, name) for name in ("ROLE", "ROLE", "PING")]

    assert told == [None, None, b"PONG"]
    assert connection.sent == ["ROLE", "hang up", "connect", "PING"]


def test_a_command_that_was_answered_before_is_sent_again() -> None:
    optional, connection = OptionalCommands(), Connection(ROLE=[b"master"])
    optional.send(connection, "ROLE")
    connection.answers["ROLE"] = BROKEN

    with pytest.raises(redis.ConnectionError):
        optional.send(connection, "ROLE")

    assert optional.accepts("ROLE")


def test_no_command_is_given_up_while_the_server_is_away() -> None:
    optional, connection = OptionalCommands(), Connection(ROLE=BROKEN)
    connection.connect = lambda: (_ for _ in ()).throw(BROKEN)  # type: ignore[method-assign]

    with pytest.raises(redis.ConnectionError):
        optional.send(connection, "ROLE")

    assert optional.accepts("ROLE")


def test_a_refused_command_returns_none_and_keeps_the_connection() -> None:
    optional = OptionalCommands()
    connection = Connection(ROLE=redis.ResponseError("unknown command"))

    told = [optional.send(connection, "ROLE") for _ in range(2)]

    assert told == [None, None]
    assert connection.sent == ["ROLE", "ROLE"]


@pytest.mark.parametrize(
    "error",
    [
        redis.AuthenticationError("NOAUTH"),
        redis.BusyLoadingError("LOADING"),
        redis.ConnectionError("max number of clients reached"),
        redis.ResponseError("DENIED Redis is running in protected mode"),
    ],
    ids=str,
)
def test_no_command_is_given_up_when_the_client_is_refused(error: Exception) -> None:
    optional, connection = OptionalCommands(), Connection(PING=error)

    with pytest.raises(type(error)):
        optional.send(connection, "PING")

    assert optional.accepts("PING")


server = pytest.fixture(scope="module")(serving)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional_commands, "TIMEOUT", 0.3)
    monkeypatch.setattr(_connections, "TIMEOUT", 0.3)


@pytest.mark.live
@pytest.mark.parametrize("how", [False, None], ids=["hangs up", "swallows"])
@pytest.mark.parametrize("command", ["SETNAME", "PING", "ROLE", "INFO", "EVAL"])
def test_a_proxy_that_breaks_at_an_optional_command_is_served(
    server: RedisServer,
    losses: Any,
    short: None,
    command: str,
    how: bool | None,  # noqa: FBT001 - of a parametrization
) -> None:
    bulk = f"\r\n{command}\r\n".encode()
    with Forwarder(server.port, lambda data: how if bulk in data else True) as proxy:
        pool = redis.ConnectionPool.from_url(f"{proxy.url}?protocol=2")
        huey = RedisHuey("my-app", connection_pool=pool)
        huey.storage.flush_all()
        instrumentation = instrument(huey, metrics_port=None)
        add = huey.task(name="add")(lambda: None)
        inquirer = Poller("q", lambda: huey.storage, Meaning())
        heard: list[Any] = []
        listener = EventListener(*huey.storage._huey_otel_events)
        thread = threading.Thread(target=lambda: heard.extend(listener), daemon=True)
        thread.start()

        add()
        huey.execute(huey.dequeue())
        assert instrumentation.flush(20.0)
        wait_until(lambda: len(heard) == 2)
        add()
        answer = inquirer.ask()
        assert answer.given.wait(20.0)

        listener.close()
        thread.join(10)
        inquirer.close()
        instrumentation.uninstrument()
        pool.disconnect()
    assert [event["status"] for event in heard] == ["started", "finished"]
    about = pytest.approx(0, abs=60)
    assert answer.contents == Contents(1, 0, 0, about, None)
    assert losses.counts() == {}


@pytest.mark.live
@pytest.mark.parametrize("how", [False, None], ids=["hangs up", "swallows"])
@pytest.mark.parametrize("command", ["INFO", "PUBSUB"])
def test_a_subscription_that_cannot_be_checked_stays(
    server: RedisServer,
    short: None,
    command: str,
    how: bool | None,  # noqa: FBT001 - of a parametrization
) -> None:
    muted = {b"INFO", command.encode()}

    def decide(data: bytes) -> bool | None:
        return how if any(b"\r\n%b\r\n" % one in data for one in muted) else True

    with Forwarder(server.port, decide) as proxy:
        subscription = Subscription(RedisEventEmitter(url=proxy.url).connections, "q")
        subscription.get_message(timeout=5)
        sockets = {subscription.connection._sock}
        for _ in range(3):
            subscription._due = 0.0
            assert subscription.get_message(timeout=0.1) is None
            sockets.add(subscription.connection._sock)
        subscription.close()

    assert len(sockets) == 1


@pytest.mark.live
def test_an_unsubscribed_raw_listener_stays_unsubscribed(server: RedisServer) -> None:
    subscription = Subscription(RedisEventEmitter(url=server.url).connections, "q")
    subscription.subscribe("other")
    seen = [subscription.get_message(timeout=5)["type"] for _ in range(2)]
    subscription._due = 0.0
    assert subscription.get_message(timeout=0.2) is None

    subscription.unsubscribe("q", "other")
    seen += [subscription.get_message(timeout=5)["type"] for _ in range(2)]
    subscription._due = 0.0
    subscription.get_message(timeout=0.2)
    subscription.subscribe("third")
    message = subscription.get_message(timeout=5)

    with redis.Redis.from_url(server.url) as admin:
        numbers = dict(admin.pubsub_numsub("q", "other", "third"))
    subscription.close()
    assert seen == ["subscribe", "subscribe", "unsubscribe", "unsubscribe"]
    assert (message["type"], message["channel"]) == ("subscribe", b"third")
    assert numbers == {b"q": 0, b"other": 0, b"third": 1}


@pytest.mark.live
def test_an_answer_without_a_number_counts_as_one_subscriber(
    server: RedisServer,
) -> None:
    connection = PublishingConnection(
        RedisEventEmitter(url=server.url).connections, "q"
    )
    connection.unanswered = 1
    connection._connection.send_command("SET", "key", "value")

    answer = connection.answer(5.0)

    connection.close()
    assert (answer, connection.unanswered) == (1, 0)


class Tickets(CredentialProvider):
    """Hands out tickets unless its own service is away."""

    def __init__(self) -> None:
        self.away = False
        self.asked_by: set[str] = set()

    def get_credentials(self) -> tuple[str, str]:
        if self.away:
            self.asked_by.add(threading.current_thread().name)
            raise RuntimeError("no tickets today")
        return "default", "any"


@pytest.fixture
def tickets(server: RedisServer) -> Iterator[Tickets]:
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "default", "on", "nopass")
    return Tickets()


@pytest.mark.live
def test_a_provider_of_credentials_that_raises_is_waited_for(
    server: RedisServer, tickets: Tickets, losses: Any, caplog: Any
) -> None:
    pool = redis.ConnectionPool(
        host="127.0.0.1", port=server.port, credential_provider=tickets
    )
    huey = RedisHuey("my-app", connection_pool=pool)
    huey.storage.flush_all()
    instrumentation = instrument(huey, metrics_port=None)
    add = huey.task(name="add")(lambda: None)
    heard: list[Any] = []
    emitter, channel = huey.storage._huey_otel_events
    listener = EventListener(emitter, channel)
    thread = threading.Thread(target=lambda: heard.extend(listener), daemon=True)
    thread.start()

    def run() -> None:
        add()
        huey.execute(huey.dequeue())

    run()
    wait_until(lambda: len(heard) == 2)
    huey.storage.conn.ping()
    admin = redis.Redis.from_url(server.url)
    tickets.away = True
    for client in admin.client_list():
        if client["name"] == "huey-otel" or int(client["sub"]):
            admin.client_kill_filter(_id=client["id"])
    run()
    wait_until(lambda: tickets.asked_by >= {"huey-otel-publisher", thread.name})
    tickets.away = False
    wait_until(lambda: admin.pubsub_numsub("myapp") == [(b"myapp", 1)])
    assert instrumentation.flush(20.0)
    run()
    wait_until(lambda: heard[-1]["status"] == "finished" and len(heard) >= 4)

    listener.close()
    thread.join(10)
    instrumentation.uninstrument()
    pool.disconnect()
    admin.close()
    (line,) = [one for one in messages(caplog) if "is away" in one]
    assert line == (
        f"{emitter.address} is away: RuntimeError: no tickets today;"
        " events wait for it (nothing is lost so far)"
    )
    assert losses.counts() == {}


def messages(caplog: Any) -> list[str]:
    return [entry.getMessage() for entry in caplog.records]
