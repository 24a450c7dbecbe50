"""A real Redis for each test."""

from collections.abc import Iterator

import pytest
import redis

from tests.support.checking import ago, check, check_apart, checked
from tests.support.redis_server import RedisServer, serving

__all__ = ["ago", "check", "check_apart", "checked"]

redis_server = pytest.fixture(serving)


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def conn(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client
