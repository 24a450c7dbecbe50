"""Waits for real consumers."""

import redis

from tests.live.processes import Consumer, listening
from tests.support.checking import ago, check, check_apart, checked
from tests.support.waiting import wait_until

__all__ = ["ago", "check", "check_apart", "checked"]


def wait_for_client(conn: redis.Redis, *commands: str) -> None:
    """Return once somebody is connected whose last command is one of *commands*."""
    wait_until(
        lambda: any(one["cmd"] in commands for one in conn.client_list())  # type: ignore[union-attr]
    )


def wait_for_port(running: Consumer, port: int) -> None:
    """Return once the consumer serves its pages on *port*."""
    wait_until(lambda: port in listening(running.pid))
