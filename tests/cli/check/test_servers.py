"""Findings of Redis servers, each provoked by real parts."""

import http.server
import re
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import redis

from huey_otel import EventListener
from tests.support.checking import APPLICATION, NOTHING, Told, schedule
from tests.support.programs import free_port, snippet
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.once, pytest.mark.slow]


class TestRedisAway:
    def test_no_server_listens_at_the_address(self, check: Callable[..., Told]) -> None:
        port = free_port()

        told = check(f"redis://:secret@127.0.0.1:{port}/0", "--queue", "live")

        assert told.found == {"redis-away": "error"}
        assert told.text("redis-away").startswith(
            f"redis://127.0.0.1:{port} does not answer (Error 111"
        )
        assert told.code == 2

    def test_redis_hangs(
        self, check: Callable[..., Told], redis_server: RedisServer
    ) -> None:
        redis_server.pause()

        told = check(redis_server.url, "--queue", "live")

        redis_server.resume()
        assert told.found == {"redis-away": "error"}
        assert "does not answer in 2 s" in told.text("redis-away")

    def test_redis_refuses_the_password(
        self, check: Callable[..., Told], conn: redis.Redis, redis_server: RedisServer
    ) -> None:
        conn.config_set("requirepass", "right")
        port = redis_server.port

        told = [
            check(f"redis://{user}127.0.0.1:{port}/0", "--queue", "live")
            for user in ("", ":wrong@")
        ]

        assert [one.found for one in told] == [{"redis-away": "error"}] * 2
        assert all(
            "refuses the password or the user" in one.text("redis-away") for one in told
        )

    def test_the_server_is_no_redis(self, check: Callable[..., Told]) -> None:
        server = http.server.HTTPServer(
            ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
        )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()

        told = check(f"redis://127.0.0.1:{server.server_port}/0", "--queue", "live")

        server.shutdown()
        server.server_close()
        thread.join()
        assert told.found == {"redis-away": "error"}

    def test_the_application_is_looked_at_without_its_redis(
        self, check: Callable[..., Told], checked: Callable[..., ModuleType]
    ) -> None:
        checked(
            LIVE_QUEUE_URL=f"redis://127.0.0.1:{free_port()}", HUEY_OTEL_EVENT="off"
        )

        told = check(APPLICATION)

        assert told.found == {"redis-away": "error", "variable": "warning"}
        assert told.code == 1

    def test_the_redis_of_the_events_is_away(
        self, check: Callable[..., Told], checked: Callable[..., ModuleType]
    ) -> None:
        port = free_port()
        checked(HUEY_OTEL_EVENTS=f"redis://127.0.0.1:{port}")

        told = check(APPLICATION)

        assert told.found == {"redis-away": "error"}
        assert told.text("redis-away").startswith(
            f"redis://127.0.0.1:{port}, which its events go to, does not answer"
        )


class TestChannel:
    def test_a_program_listens_on_another_spelling(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        module = checked(LIVE_QUEUE="My-App")
        module.add(1, 2)

        with EventListener(redis_url, "My-App"):
            told = [check(APPLICATION), check(redis_url, "--queue", "My-App")]

        # huey 2 spells it in another way than huey 3.
        address, name = redis_url.removesuffix("/0"), module.huey.storage.name
        said = f"1 listener on 'My-App' of {address}, but events are published on"
        assert [one.found["channel"] for one in told] == ["warning", "warning"]
        assert told[0].text("channel") == f"{said} {name!r} of {address}"
        assert told[1].text("channel") == f"{said} {name!r} of {address}"

    def test_events_have_a_channel_of_another_name(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        checked(HUEY_OTEL_CHANNEL="audit")

        with EventListener(redis_url, "live"):
            wrong = check(APPLICATION)
        with EventListener(redis_url, "audit"):
            right = check(APPLICATION)

        assert wrong.found == {"channel": "warning"}
        assert (right.found, right.unknown) == NOTHING

    def test_events_go_to_another_redis(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        with RedisServer() as other, EventListener(redis_url, "live"):
            checked(HUEY_OTEL_EVENTS=other.url)

            told = check(APPLICATION)

        assert told.found == {"channel": "warning"}
        assert told.text("channel").endswith(f"of redis://127.0.0.1:{other.port}")

    def test_a_listener_is_in_another_database(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        checked(HUEY_OTEL_EVENTS=redis_url.removesuffix("0") + "5")

        with EventListener(redis_url, "live"):
            told = check(APPLICATION)

        assert (told.found, told.unknown) == NOTHING

    def test_a_program_listens_on_both_channels(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        module = checked(LIVE_QUEUE="My-App")
        name = module.huey.storage.name

        with EventListener(redis_url, "My-App"), EventListener(redis_url, name):
            told = check(APPLICATION)

        assert told.found == {}


class TestAcl:
    def test_this_user_may_not_publish(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
        redis_server: RedisServer,
    ) -> None:
        conn.execute_command(
            *["ACL", "SETUSER", "app", "on", ">s", "~*", "+@all", "resetchannels"]
        )
        url = f"redis://app:s@127.0.0.1:{redis_server.port}/0"
        checked(LIVE_QUEUE_URL=url)

        told = [check(APPLICATION), check(url, "--queue", "live")]

        assert (told[0].found, told[0].text("acl")) == (
            {"acl": "error"},
            "user 'app' may not publish on 'live'",
        )
        # Its consumers may be another user.
        assert (told[1].found["no-keys"], told[1].unknown) == ("note", {"acl"})

    def test_what_the_document_allows_is_enough(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
        redis_server: RedisServer,
    ) -> None:
        rules = snippet("docs/check.md", "acl").split()
        conn.execute_command("ACL", "SETUSER", "looks", "on", ">s", *rules)
        url = f"redis://looks:s@127.0.0.1:{redis_server.port}/0"
        for kind in ("RedisHuey", "PriorityRedisHuey"):
            told = check(url, "--queue", "live")
            assert (told.found, told.unknown) == ({"no-keys": "note"}, {"acl"})
            module = checked(LIVE_HUEY=kind)
            module.add(1, 2)
            schedule(module.add.s(1, 2), -3600)
            conn.xadd("huey.events.live", {"body": "{}"})

            told = check(url, "--queue", "live")

            assert (told.found, told.unknown) == ({"no-consumer": "warning"}, {"acl"})
            module.huey.storage.flush_all()

    def test_acl_is_refused(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked()
        conn.execute_command("ACL", "SETUSER", "default", "-acl")

        told = check(APPLICATION)

        assert (told.found, told.unknown) == ({}, {"acl"})


class TestEviction:
    def test_the_policy_allows_eviction(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked()
        conn.config_set("maxmemory", "1gb")
        told = {}
        for policy in ("noeviction", "volatile-lru", "allkeys-lru"):
            conn.config_set("maxmemory-policy", policy)
            told[policy] = check(APPLICATION).found

        assert told == {
            "noeviction": {},
            "volatile-lru": {},
            "allkeys-lru": {"eviction": "warning"},
        }

    def test_memory_has_no_limit(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked()
        conn.config_set("maxmemory-policy", "allkeys-lru")

        assert (check(APPLICATION).found, check(APPLICATION).unknown) == NOTHING

    def test_keys_were_evicted(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked()
        conn.config_set("maxmemory-policy", "allkeys-random")
        conn.config_set("maxmemory", "3mb")
        for number in range(40):
            conn.set(f"large-{number}", b"x" * 100_000)

        told = check(APPLICATION)

        assert told.found == {"eviction": "error"}
        assert "has dropped" in told.text("eviction")

    def test_info_is_refused(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked()
        conn.execute_command("ACL", "SETUSER", "default", "-info")

        told = check(APPLICATION)

        assert (told.found, told.unknown) == ({}, {"eviction"})


class TestClock:
    def test_the_clock_of_this_machine_is_slow(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        ago: Callable[..., Any],
        redis_url: str,
    ) -> None:
        checked()

        told = ago(30, lambda: check(APPLICATION))

        assert told.found == {"clock": "warning"}
        # A busy machine takes a while to ask.
        assert re.sub(r"\b(29|31) s", "30 s", told.text("clock")) == (
            f"the clock of {redis_url.removesuffix('/0')} is 30 s ahead of that of this"
            " machine"
        )

    def test_the_clock_of_a_producer_is_fast(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        ago: Callable[..., Any],
        redis_url: str,
    ) -> None:
        module = checked()
        ago(-300, lambda: module.add(1, 2))

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        said = "a message was enqueued 5 min from now, by its producer"
        assert [(one.found["clock"], one.text("clock")) for one in told] == [
            ("warning", said)
        ] * 2

    def test_time_is_refused(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked()
        conn.execute_command("ACL", "SETUSER", "default", "-time")

        told = check(APPLICATION)

        assert (told.found, told.unknown) == ({}, {"clock"})


def forbid_channels(conn: redis.Redis) -> None:
    """Make the user app, who may do all but publish."""
    conn.acl_setuser(
        "app", enabled=True, passwords=["+s"], keys=["*"], categories=["+@all"]
    )
