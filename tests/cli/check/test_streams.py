"""Findings of the stream, each provoked in a real Redis."""

import json
from collections.abc import Callable
from types import ModuleType

import pytest
import redis

from tests.support.checking import APPLICATION, NOTHING, Told
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.once, pytest.mark.slow]

KEY = "huey.events.live"
MINUTE = 60_000


def add(
    conn: redis.Redis, *ages: int, key: str = KEY, maxlen: int | None = None
) -> None:
    """Add an entry for each of *ages*, in milliseconds."""
    seconds, _ = conn.time()
    event = {"status": "finished", "queue": "live"}
    for number, age in enumerate(ages):
        conn.xadd(
            key,
            {"body": json.dumps(event)},
            id=f"{seconds * 1_000 - age}-{number}",
            maxlen=maxlen,
            approximate=False,
        )


class TestStreamType:
    def test_the_key_of_the_stream_holds_a_list(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
        redis_url: str,
    ) -> None:
        conn.rpush(KEY, "theirs")
        checked(HUEY_OTEL_STREAM="on")

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        assert told[0].found == {"stream-type": "error"}
        assert told[0].code == 1
        assert told[1].found["stream-type"] == "warning"
        assert [one.text("stream-type") for one in told] == [
            f"the key '{KEY}' of its stream holds a list"
        ] * 2

    def test_the_key_that_is_given_holds_a_hash(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        conn.hset("app:events", "a", "b")
        checked(HUEY_OTEL_STREAM="app:events")

        told = check(APPLICATION)

        assert told.found == {"stream-type": "error"}
        assert told.text("stream-type") == (
            "the key 'app:events' of its stream holds a hash"
        )

    def test_the_type_of_the_key_may_not_be_asked(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked(HUEY_OTEL_STREAM="app:events")
        conn.execute_command(
            *("ACL", "SETUSER", "default", "resetkeys", "~huey.*", "+@all")
        )

        told = check(APPLICATION)

        assert told.unknown == {"stream-type"}
        assert told.found == {"acl": "error"}
        assert told.text("acl").endswith("may not add to the stream 'app:events'")

    def test_a_stream_is_written_and_read(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
        redis_url: str,
    ) -> None:
        checked(HUEY_OTEL_STREAM="on")
        empty = check(APPLICATION)
        add(conn, 0)

        told = check(APPLICATION)

        assert (empty.found, empty.unknown) == NOTHING
        assert (told.found, told.unknown) == NOTHING
        assert told.looked_at[0][-1] == f"events on channel live, stream {KEY}"


class TestTrimmed:
    def test_a_stream_reaches_back_for_four_minutes(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
        redis_url: str,
    ) -> None:
        checked(HUEY_OTEL_STREAM="100")
        add(conn, *range(5 * MINUTE, 0, -MINUTE // 60), maxlen=240)

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        assert [one.found["trimmed"] for one in told] == ["warning", "warning"]
        assert told[0].found == {"trimmed": "warning"}
        assert {one.text("trimmed") for one in told} == {
            f"its stream '{KEY}' reaches back 4 min, with 240 events"
        }

    def test_a_stream_reaches_back_for_an_hour(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked(HUEY_OTEL_STREAM="100")
        add(conn, *range(120 * MINUTE, 0, -MINUTE), maxlen=60)

        told = check(APPLICATION)

        assert (told.found, told.unknown) == NOTHING

    def test_a_stream_is_new_and_has_lost_nothing(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked(HUEY_OTEL_STREAM="100")
        add(conn, 3_000, 2_000, 1_000)

        told = check(APPLICATION)

        assert (told.found, told.unknown) == NOTHING

    def test_how_far_it_reaches_back_may_not_be_asked(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
        redis_server: RedisServer,
    ) -> None:
        checked(HUEY_OTEL_STREAM="100")
        add(conn, *range(MINUTE, 0, -100), maxlen=100)
        conn.execute_command("ACL", "SETUSER", "default", "-xinfo")

        told = check(APPLICATION)

        assert (told.found, told.unknown) == ({}, {"trimmed"})
