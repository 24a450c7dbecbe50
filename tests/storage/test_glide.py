"""ValkeyGlideHuey: events and gauges go by redis-py to the server of its client."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from huey.exceptions import ConfigurationError

from huey_otel import EventListener, instrument
from huey_otel._prometheus.queue_gauges import Poller
from huey_otel._storage import emitter as _emitter
from huey_otel._storage.contents import Contents, Meaning
from huey_otel._storage.emitter import of_storage
from tests.support.redis_server import RedisServer, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.live

glide = pytest.importorskip("huey.contrib.valkey_glide", exc_type=ImportError)

redis_server = pytest.fixture(scope="module")(serving)


@pytest.fixture
def huey(redis_server: RedisServer) -> Iterator[Any]:
    made = glide.ValkeyGlideHuey("my-app", host="127.0.0.1", port=redis_server.port)
    yield made
    instrument(made).uninstrument()
    made.storage.conn.close()


def test_events_and_gauges_of_a_glide_huey(huey, losses):
    instrumentation = instrument(huey, metrics_port=None)
    add = huey.task(name="add")(lambda: None)
    inquirer = Poller("q", lambda: huey.storage, Meaning())
    heard: list[Any] = []
    emitter, channel = huey.storage._huey_otel_events
    listener = EventListener(emitter, channel)
    thread = threading.Thread(
        target=lambda: heard.extend(event["status"] for event in listener), daemon=True
    )
    thread.start()

    add()
    huey.execute(huey.dequeue())
    assert instrumentation.flush(10.0)
    wait_until(lambda: len(heard) == 2)
    add()
    huey.add_schedule(add.s(eta=huey._get_timestamp()))
    held = inquirer.wait(inquirer.ask())

    listener.close()
    thread.join(10)
    inquirer.close()
    about = pytest.approx(0, abs=60)
    assert (channel, heard[:2]) == ("myapp", ["started", "finished"])
    assert held == Contents(1, 1, 0, about, about)
    assert losses.counts() == {}


class Client:
    """The configuration of a client, without the server that a real one needs."""

    def __init__(self, **config: Any) -> None:
        self._config = glide.GlideClientConfiguration(**config)


def settings_of(monkeypatch: pytest.MonkeyPatch, **config: Any) -> Any:
    import glide_sync

    monkeypatch.setattr(glide_sync, "GlideClient", Client)
    storage = type("Storage", (), {})()
    storage.conn = Client(**config)
    return of_storage(storage)


def test_the_address_of_a_glide_client_is_found(monkeypatch):
    import glide_sync

    emitter = settings_of(
        monkeypatch,
        addresses=[glide.NodeAddress("host1", 7001)],
        use_tls=True,
        credentials=glide_sync.ServerCredentials("secret", "user"),
        database_id=3,
    )

    connection = emitter.connections.to_publish()
    assert isinstance(connection, redis.SSLConnection)
    assert emitter.address == "rediss://host1:7001"
    assert (connection.host, connection.port) == ("host1", 7001)
    assert (connection.username, connection.password) == ("user", "secret")


def test_a_glide_client_with_iam_credentials_has_no_pool(monkeypatch):
    import glide_sync

    iam = glide_sync.IamAuthConfig("cluster", glide_sync.ServiceType.ELASTICACHE, "eu")
    credentials = glide_sync.ServerCredentials(username="user", iam_config=iam)

    emitter = settings_of(
        monkeypatch,
        addresses=[glide.NodeAddress("host1", 7001)],
        credentials=credentials,
    )

    assert emitter is None


def test_a_glide_huey_without_a_pool_names_the_option_to_pass(huey, monkeypatch):
    monkeypatch.setattr(_emitter, "_pool_of_glide", lambda _: None)

    instrumentation = instrument(huey, metrics_port=None)

    assert str(instrumentation._outputs.destinations) == (
        "off, how the queue reaches its Redis cannot be taken over:"
        " pass events=RedisEventEmitter(url=...)"
    )
    with pytest.raises(ConfigurationError, match=r"pass events=RedisEventEmitter\(url"):
        next(iter(huey.storage))
