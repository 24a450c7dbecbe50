"""The command and a server without HELLO, as Redis 5 is: redis-py 8 begins with it."""

import json
from collections.abc import Iterator

import pytest
import redis

from huey_otel._wire.page import Head, index_of, key_of, pack
from tests.live.scraping import fetch
from tests.support.commands import Command
from tests.support.programs import missing
from tests.support.redis_server import RedisServer, server_binary

pytestmark = [pytest.mark.live, pytest.mark.once, pytest.mark.slow]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """A server with a queue, a consumer's page, and the stream of its events."""
    if server_binary() is None:
        missing("a Redis server")
    with (
        RedisServer("--rename-command", "HELLO", "") as server,
        redis.Redis.from_url(server.url, protocol=2) as client,
    ):
        client.lpush("huey.redis.shop", b"message")
        client.zadd(index_of("shop"), {"web-1:7:1": client.time()[0]})
        page = pack(Head("shop", "web-1:7", 5.0, "0.1.0"), "# EOF\n")
        client.set(key_of("shop", "web-1:7:1"), page, ex=600)
        event = {"status": "finished", "error": False, "id": "1", "task": "add"}
        client.xadd("huey.events.shop", {"body": json.dumps(event)})
        yield server


def test_the_exporter_tells_all(server: RedisServer) -> None:
    options = ("--queue", "shop", "--host", "127.0.0.1", "--port", "0")
    with Command("exporter", "--redis", server.url, *options) as command:
        (line,) = command.said(" are served on ").err[:1]
        url = line.rpartition(" ")[2]
        page = fetch(url)[1]
        status, queues = fetch(url.replace("/metrics", "/queues?queue=shop"))

    assert 'huey_exporter_pages{queue="shop",state="live"} 1.0' in page
    assert "huey_exporter_up 1.0" in page
    assert (status, json.loads(queues)["waiting"]) == (200, 1)


def test_check_can_tell(server: RedisServer) -> None:
    with Command("check", server.url, "--queue", "shop", "--json") as command:
        command.ended()

    assert "HELLO" not in "".join([*command.out, *command.err])


def test_top_shows_what_waits(server: RedisServer) -> None:
    with Command("top", server.url, "--queue", "shop", "--json") as command:
        assert command.ended() == 0

    assert json.loads(command.out[0])["backlog"]["waiting"] == 1


def test_tail_shows_what_the_stream_has(server: RedisServer) -> None:
    with Command("tail", server.url, "--queue", "shop", "--json") as command:
        (line,) = command.shown(1)

    assert json.loads(line)["status"] == "finished"
