"""The emitter: every way to name a Redis, and no password in any text."""

import functools
import ssl

import pytest
import redis
import redis.asyncio
from huey import RedisHuey

from huey_otel import EventListener, RedisEventEmitter, instrument
from huey_otel._safety.redaction import masked, said, shown
from huey_otel._storage.emitter import of_storage

URL = "redis://user:secret@host1:7001/2"

DRIVERS = {
    "url": lambda url: RedisEventEmitter(url=url),
    "client": lambda url: RedisEventEmitter(client=redis.Redis.from_url(url)),
    "pool": lambda url: RedisEventEmitter(
        connection_pool=redis.ConnectionPool.from_url(url)
    ),
}


@pytest.mark.parametrize("make", DRIVERS.values(), ids=list(DRIVERS))
@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://host1", "redis://host1:6379"),
        ("redis://", "redis://localhost:6379"),
        ("redis://:secret@:7001/2", "redis://localhost:7001"),
        ("redis://:secret@host1:7001/2", "redis://host1:7001"),
        ("rediss://user:secret@host1:7001/2", "rediss://host1:7001"),
        ("redis://host1:7001/2?password=secret&username=user", "redis://host1:7001"),
        ("unix:///run/redis.sock?db=1&password=secret", "unix:///run/redis.sock"),
        ("unix://user:secret@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_redis_is_named_without_its_password(make, url, address):
    emitter = make(url)

    assert emitter.address == address
    assert repr(emitter) == f"<RedisEventEmitter {address} channel=None>"


@pytest.mark.parametrize("make", DRIVERS.values(), ids=list(DRIVERS))
def test_settings_are_those_of_the_connection_it_was_given(make):
    emitter = make(URL)

    connection = emitter.connections.to_publish()

    assert type(connection) is redis.Connection
    assert (connection.host, connection.port) == ("host1", 7001)
    assert connection.credential_provider is None
    assert (connection.username, connection.password) == ("user", "secret")


@pytest.mark.parametrize("make", DRIVERS.values(), ids=list(DRIVERS))
@pytest.mark.parametrize(
    "options",
    [
        "",
        "?socket_timeout=60&socket_connect_timeout=60&retry_on_timeout=yes",
        "?client_name=mine&decode_responses=yes&protocol=3",
        "?health_check_interval=5&max_connections=3",
    ],
)
def test_a_publishing_connection_has_our_timeouts(make, options):
    connection = make(URL + options).connections.to_publish()

    assert (
        connection.socket_timeout,
        connection.socket_connect_timeout,
        connection.health_check_interval,
        connection.retry_on_error,
        connection.encoder.decode_responses,
        connection.protocol,
    ) == (2.0, 2.0, 0, [], False, 2)


def test_a_unix_socket_has_our_timeout():
    emitter = RedisEventEmitter(url="unix:///run/redis.sock?db=1")

    connection = emitter.connections.to_publish()

    assert type(connection) is redis.UnixDomainSocketConnection
    assert connection.path == "/run/redis.sock"
    assert connection.socket_timeout == 2.0


def test_tls_settings_are_kept():
    emitter = RedisEventEmitter(url="rediss://host1/0?ssl_cert_reqs=none")

    connections = (
        emitter.connections.to_publish(),
        emitter.connections.to_ask().connection_pool.make_connection(),
        emitter.connections.to_listen(lambda _: None).make_connection(),
    )
    assert {type(connection) for connection in connections} == {redis.SSLConnection}
    assert {connection.cert_reqs for connection in connections} == {ssl.CERT_NONE}


class Wrapper:
    """A client that wraps another and sets its attributes on that one."""

    def __init__(self, client):
        vars(self)["client"] = client

    def __getattr__(self, name):
        return getattr(self.client, name)

    def __setattr__(self, name, value):
        setattr(self.client, name, value)


class Inheriting(redis.Redis):
    """The same as a subclass."""

    def __init__(self, client):
        super().__init__(connection_pool=client.connection_pool)
        self.client = client

    def execute_command(self, *arguments, **options):
        return self.client.execute_command(*arguments, **options)


@pytest.mark.parametrize("kind", [Wrapper, Inheriting])
def test_a_client_that_wraps_another_is_not_copied(kind):
    client = redis.Redis.from_url(URL)
    pool = client.connection_pool

    asking = RedisEventEmitter(client=client).connections.to_ask(kind(client))

    assert type(asking) is redis.Redis
    assert asking.connection_pool is not pool
    assert client.connection_pool is pool


def test_a_client_of_a_subclass_is_copied():
    own = type("Own", (redis.Redis,), {})
    client = own.from_url(URL)

    asking = RedisEventEmitter(client=client).connections.to_ask(client)

    assert type(asking) is own
    assert asking.connection_pool is not client.connection_pool


def test_no_connection_is_taken_from_a_pool_with_wrapped_methods():
    pool = redis.ConnectionPool.from_url(URL)
    lent, get = [], pool.get_connection
    pool.get_connection = lambda *_: lent.append(1) or get()
    connections = RedisEventEmitter(connection_pool=pool).connections

    with pytest.raises(redis.ConnectionError):
        connections.to_ask().ping()

    assert lent == []


@pytest.mark.parametrize(
    "kind", [lambda **s: redis.SSLConnection(**s), functools.partial(redis.Connection)]
)
def test_a_pool_with_a_connection_factory_is_accepted(kind):
    pool = redis.ConnectionPool(kind, host="host1")

    emitter = RedisEventEmitter(connection_pool=pool)

    assert emitter.address == "redis://host1:6379"


class Connecting:
    """A connection of another package that is like redis-py."""

    def connect(self):
        raise AssertionError


class Pool:
    connection_class = Connecting
    connection_kwargs = None

    def make_connection(self):
        raise AssertionError


def test_a_pool_of_a_fork_of_redis_py_is_refused():
    with pytest.raises(TypeError, match=r"expected redis.Redis for client="):
        RedisEventEmitter(connection_pool=Pool())


def test_a_queue_on_a_fork_of_redis_py_says_what_to_pass():
    huey = RedisHuey("my-app", url=URL)
    huey.storage.conn = type("Client", (), {"connection_pool": Pool()})()

    instrumentation = instrument(huey, metrics_port=None)

    assert str(instrumentation._outputs.destinations) == (
        "off, how the queue reaches its Redis cannot be taken over:"
        " pass events=RedisEventEmitter(url=...)"
    )
    instrumentation.uninstrument()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (redis.ConnectionError("Connection refused."), "Connection refused"),
        (
            redis.ConnectionError(
                "No master for 'a' : <Redis(<Pool(<Connection(port=1)>)>)> - away"
            ),
            "No master for 'a' - away",
        ),
        (ValueError("two\n lines"), "two lines"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 301), "x" * 300),
    ],
)
def test_an_error_is_shown_without_passwords(error, text):
    assert said(error) == text


def test_a_clients_pool_stays_unchanged():
    client = redis.Redis.from_url(URL + "?socket_timeout=60")
    before = dict(client.connection_pool.connection_kwargs)

    emitter = RedisEventEmitter(client=client)
    emitter.connections.to_publish()
    pools = (
        emitter.connections.to_ask(client).connection_pool,
        emitter.connections.to_listen(lambda _: None),
    )

    assert client.connection_pool.connection_kwargs == before
    assert client.connection_pool not in pools


def test_making_an_emitter_does_not_connect():
    client = redis.Redis(host="127.0.0.1", port=1)

    emitter = RedisEventEmitter(client=client)
    emitter.connections.to_publish()

    # The first command would raise.
    assert client.connection_pool._created_connections == 0


def test_a_listening_connection_reads_bytes_and_sends_no_ping():
    options = "?decode_responses=yes&health_check_interval=5&socket_timeout=60"
    emitter = RedisEventEmitter(url=URL + options)

    connection = emitter.connections.to_listen(lambda _: None).make_connection()

    assert (
        connection.encoder.decode_responses,
        connection.health_check_interval,
        connection.socket_timeout,
    ) == (False, 0, 60)


@pytest.mark.parametrize("given", [None, 1, b"redis://", object(), ["redis://"]])
def test_a_listeners_error_names_what_is_accepted(given):
    with pytest.raises(TypeError) as refusal:
        EventListener(given, "q")

    assert str(refusal.value) == (
        f"EventListener({shown(given)}, ...): expected the URL of a Redis"
        " or a redis.Redis"
    )


def test_the_channel_is_kept():
    emitter = RedisEventEmitter(url=URL, channel="news")

    assert emitter.channel == "news"
    assert repr(emitter) == "<RedisEventEmitter redis://host1:7001 channel='news'>"


def test_a_sentinels_service_is_named():
    from redis.sentinel import Sentinel

    master = Sentinel([("host1", 26379)], password="secret").master_for("mymaster")

    emitter = RedisEventEmitter(client=master)

    assert emitter.address == "redis service mymaster"


@pytest.mark.parametrize(
    ("storage", "emits"),
    [
        pytest.param(object(), False, id="no storage"),
        pytest.param(
            type("S", (), {"__init__": lambda s: setattr(s, "conn", redis.Redis())})(),
            True,
            id="a Redis",
        ),
        pytest.param(
            type("S", (), {"__init__": lambda s: setattr(s, "conn", object())})(),
            False,
            id="something else",
        ),
    ],
)
def test_the_redis_of_a_storage(storage, emits):
    assert isinstance(of_storage(storage), RedisEventEmitter) is emits


@pytest.mark.parametrize(
    "ways",
    [
        {},
        {"url": URL, "client": redis.Redis()},
        {"url": URL, "client": redis.Redis(), "connection_pool": object()},
    ],
    ids=["none", "two", "three"],
)
def test_exactly_one_way_is_accepted(ways):
    with pytest.raises(TypeError) as refusal:
        RedisEventEmitter(**ways)

    assert str(refusal.value) == (
        "RedisEventEmitter takes exactly one of url=, client= and"
        f" connection_pool=, {len(ways)} were given"
    )


@pytest.mark.parametrize(
    ("channel", "kind"), [("", ValueError), (1, TypeError), (b"x", TypeError)]
)
def test_a_wrong_channel_is_refused(channel, kind):
    with pytest.raises(kind, match=r"channel=.*: expected the name of a channel"):
        RedisEventEmitter(url=URL, channel=channel)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "localhost:6379",
        "http://host",
        "redis:/host",
        "redis://host:port",
        "redis://host:70000",
        "redis://host/zero",
        "redis://host/1/2",
        "redis://[::1",
        "redis://host/0?no_such_option=1",
        "redis://host/0?socket_timeout=soon",
        "amqp://user:secret@host",
        "redis://user:secret@host:port",
        "redis://user:secret@host/zero",
        "redis://user:sec/ret@host:1/0",
        "redis://user:se/secret@host:1/0",
        "redis://user:sec?ret@host:1/0",
        "redis://user:sec#ret@host:1/0",
        "redis://user:sec]ret@host:1/0",
        "redis://user:[secret@host:1/0",
        "redis://:secret",
        "user:secret@host",
        "redis://host/zero?password=secret",
        "redis://host/0?password=secret&no_such_option=1",
    ],
)
def test_a_wrong_url_is_refused_without_showing_its_password(url):
    with pytest.raises(ValueError, match="expected a Redis URL") as refusal:
        RedisEventEmitter(url=url)

    message = str(refusal.value)
    assert message.startswith("url='")
    assert not any(part in message for part in ("secret", "sec", "ret@", "user"))
    assert refusal.value.__suppress_context__
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:port", "redis://host:***"),
        ("redis://[::1]:port", "redis://[::1]:port"),
        ("redis://user:secret@host:1/zero", "redis://host:1/zero"),
        ("http://user:secret@host/0", "http://host/0"),
        ("redis://host/zero?password=secret", "redis://host/zero"),
        ("user:secret@host", "host"),
        ("localhost", "localhost"),
    ],
)
def test_a_url_is_shown_without_its_password(url, shown):
    assert masked(url) == shown


@pytest.mark.parametrize(
    "refused",
    [
        lambda url: RedisEventEmitter(client=url),
        lambda url: RedisEventEmitter(connection_pool=url),
        lambda url: RedisEventEmitter(url=url.encode()),
        lambda url: EventListener(object(), url),
        lambda url: EventListener([url], "channel"),
        lambda url: RedisEventEmitter(client=[url]),
        lambda url: RedisEventEmitter(client=redis.asyncio.Redis.from_url(url)),
        lambda url: EventListener(redis.asyncio.Redis.from_url(url), "channel"),
    ],
    ids=[
        *("client", "pool", "bytes", "an object", "a list", "client as list"),
        *("asyncio", "asyncio to a listener"),
    ],
)
def test_another_object_is_refused_without_showing_a_password(refused):
    with pytest.raises(TypeError, match="expected") as refusal:
        refused(URL)

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "value",
    ["user:secret@host", "redis:/user:secret@host", "http://user:secret@host/0"],
)
def test_a_wrong_events_url_is_refused_without_showing_its_password(huey, value):
    with pytest.raises(ValueError, match="events") as refusal:
        instrument(huey, events=value)

    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("value", ["user:secret@host", "redis:/user:secret@host"])
def test_a_wrong_url_in_the_environment_is_refused_without_showing_its_password(
    huey, monkeypatch, value
):
    monkeypatch.setenv("HUEY_OTEL_EVENTS", value)

    with pytest.raises(ValueError, match="HUEY_OTEL_EVENTS") as refusal:
        instrument(huey)

    assert "secret" not in str(refusal.value)
