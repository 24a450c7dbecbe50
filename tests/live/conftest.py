"""Real servers for the live tests, one per test, so that a test may kill its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import missing
from tests.support_redis import RedisServer, server_binary

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.live)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    if server_binary() is None:
        missing("a Redis server")
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url
