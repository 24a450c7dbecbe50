"""One scene for all tests: it takes minutes, and each looks at it from one side."""

from collections.abc import Iterator

import pytest

from tests.live.processes import Program
from tests.live.viewers.scene import Scene
from tests.support.programs import missing
from tests.support.redis_server import RedisServer, server_binary


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The scene when it has been played; the viewers still answer."""
    if server_binary() is None:
        missing("a Redis server")
    kept: list[Program] = []

    def keep(program: Program) -> Program:
        kept.append(program)
        return program

    with RedisServer() as redis:
        try:
            yield Scene(tmp_path_factory.mktemp("viewers"), redis.port, keep)
        finally:
            for program in reversed(kept):
                program.clean_up()
