"""A real Redis for each test, and pages in it as consumers leave them."""

import json
import zlib
from collections.abc import Callable, Iterator

import pytest
import redis

from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel._wire.page import LIFETIME, Head, index_of, key_of, pack
from huey_otel.cli.exporter.answers import Answers
from huey_otel.cli.exporter.look import Look
from huey_otel.cli.target import Queues
from tests.support.redis_server import RedisServer, serving

redis_server = pytest.fixture(serving)


@pytest.fixture
def conn(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def leave(conn: redis.Redis) -> Callable[..., str]:
    """Leaves a page in Redis as a consumer does, *age* seconds ago; its key."""

    def leave(
        text: str = "",
        *,
        queue: str = "my-app",
        storage: str = "myapp",
        consumer: str = "web-1:7",
        started: int = 1,
        age: float = 0.0,
        interval: float = 5.0,
        ended: bool = False,
        page: bytes | None = None,
    ) -> str:
        head = Head(queue, consumer, interval, "0.1.0", ended)
        publisher = f"{consumer}:{started}"
        key = key_of(storage, publisher)
        left = int((LIFETIME - age) * 1000)
        conn.set(key, pack(head, text) if page is None else page, px=left)
        seconds, _ = conn.time()
        conn.zadd(index_of(storage), {publisher: seconds - age})
        return key

    return leave


@pytest.fixture
def answers(redis_server: RedisServer) -> Callable[..., Answers]:
    """The exporter's answers about queues of a Redis, by default of the test's."""

    def answers(
        *queues: str, url: str = redis_server.url, zone=None, exact: bool = False
    ) -> Answers:
        target = Queues(RedisEventEmitter(url=url), queues or ("my-app",))
        return Answers(Look(target, zone, exact=exact))

    return answers


@pytest.fixture
def foreign() -> Callable[..., bytes]:
    """Makes a page with a head that says otherwise."""

    def foreign(text: str = "", **changed: object) -> bytes:
        head = Head("my-app", "web-1:7", 5.0, "0.1.0")
        told = {"format": 1, **head._asdict(), **changed}
        return json.dumps(told).encode() + b"\n" + zlib.compress(text.encode())

    return foreign
