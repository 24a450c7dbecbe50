"""Findings about consumers, each provoked by real ones."""

import os
import platform
import signal
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import redis

from huey_otel.cli.check import of_fleets, pages
from runtime.otlp_receiver import Answer, receiver
from tests.live.check.conftest import wait_for_client, wait_for_port
from tests.live.processes import Consumer
from tests.support.checking import APPLICATION, NOTHING, Told, schedule
from tests.support.programs import free_port, needs_huey_3, other_huey
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_to_read, wait_until

pytestmark = pytest.mark.once


def found(check: Callable[..., Told], target: str, levels: dict[str, str]) -> Told:
    """What is told of *target* when *levels* are found there for the first time."""
    every: list[Told] = []

    def read() -> dict[str, str]:
        every.append(check(target))
        return every[-1].found

    wait_to_read(read, levels)
    return every[-1]


class TestNoConsumer:
    @pytest.mark.parametrize("kind", ["thread", "process"])
    def test_a_consumer_reads_the_schedule(
        self,
        kind: str,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
        conn: redis.Redis,
    ) -> None:
        module = checked()
        schedule(module.add.s(1, 2), -3600)
        key = module.huey.storage.schedule_key
        conn.restore(key, 0, conn.dump(key), replace=True, idletime=600)

        consumer(kind, application="checked")
        wait_until(lambda: int(conn.object("IDLETIME", key)) < 10)  # type: ignore[arg-type]

        told = check(APPLICATION)
        assert (told.found, told.unknown) == NOTHING

    def test_no_consumer_reads_the_schedule(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
        conn: redis.Redis,
        ago: Callable[..., Any],
        redis_url: str,
    ) -> None:
        module = checked()
        # Its workers and its scheduler look at another queue.
        consumer("thread", application="checked", LIVE_QUEUE="other")
        wait_for_client(conn, "brpop")
        schedule(module.add.s(1, 2), -3600)
        ago(600, lambda: module.add(1, 2))
        key = module.huey.storage.schedule_key
        conn.restore(key, 0, conn.dump(key), replace=True, idletime=600)

        told = check(APPLICATION)

        assert told.found == {"no-consumer": "error"}
        assert told.text("no-consumer") == (
            "1 message waits, the oldest for 10 min, and no scheduler has read its"
            " schedule for 10 min"
        )

    def test_the_consumer_has_ended(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
        ago: Callable[..., Any],
        conn: redis.Redis,
    ) -> None:
        module = checked()
        running = consumer("process", application="checked")
        wait_for_client(conn, "brpop")
        before = check(APPLICATION)
        running.stop()
        ago(120, lambda: module.add(1, 2))

        assert (before.found, before.unknown) == NOTHING
        # Redis may notice the end of a connection after that of its process.
        wait_to_read(lambda: check(APPLICATION).found, {"no-consumer": "error"})

    def test_a_consumer_of_another_queue_is_connected(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
        ago: Callable[..., Any],
        conn: redis.Redis,
    ) -> None:
        module = checked()
        consumer("thread", application="checked", LIVE_QUEUE="other")
        wait_for_client(conn, "brpop")
        ago(120, lambda: module.add(1, 2))

        told = check(APPLICATION)

        assert (told.found, told.unknown) == ({}, {"no-consumer"})


class TestRedisAway:
    def test_a_consumer_says_that_its_storage_is_away(
        self,
        check: Callable[..., Told],
        consumer: Callable[..., Consumer],
        redis_server: RedisServer,
    ) -> None:
        port = free_port()
        running = consumer(
            "thread", application="checked", HUEY_OTEL_METRICS_PORT=str(port)
        )
        wait_for_port(running, port)
        redis_server.stop()

        told = check(f"localhost:{port}")

        assert told.found == {"redis-away": "error"}


class TestAcl:
    def test_a_consumer_was_refused(
        self,
        check: Callable[..., Told],
        consumer: Callable[..., Consumer],
        conn: redis.Redis,
        redis_server: RedisServer,
    ) -> None:
        conn.execute_command(
            *["ACL", "SETUSER", "app", "on", ">s", "~*", "+@all", "resetchannels"]
        )
        port = free_port()
        running = consumer(
            "thread",
            application="checked",
            url=f"redis://app:s@127.0.0.1:{redis_server.port}/0",
            HUEY_OTEL_METRICS_PORT=str(port),
        )
        wait_for_port(running, port)
        # Its first event is the scheduler's, and the next one is a minute later.
        told = found(check, f"localhost:{port}", {"acl": "warning"})

        assert told.text("acl") == (
            f"1 event of the consumer at localhost:{port} was refused since its start"
        )

    def test_a_consumer_was_not_allowed_to_add_to_the_stream(
        self,
        check: Callable[..., Told],
        consumer: Callable[..., Consumer],
        conn: redis.Redis,
        redis_server: RedisServer,
    ) -> None:
        conn.execute_command(
            *["ACL", "SETUSER", "app", "on", ">s", "~*", "&*", "+@all", "-xadd"]
        )
        port = free_port()
        running = consumer(
            "thread",
            application="checked",
            url=f"redis://app:s@127.0.0.1:{redis_server.port}/0",
            HUEY_OTEL_METRICS_PORT=str(port),
            HUEY_OTEL_STREAM="on",
        )
        wait_for_port(running, port)
        told = found(check, f"localhost:{port}", {"acl": "warning"})

        assert told.text("acl") == (
            f"its stream has refused 1 event of the consumer at localhost:{port} since"
            " its start, whose log says why"
        )


class TestClock:
    def test_the_clock_of_a_consumer_is_fast(
        self,
        check: Callable[..., Told],
        consumer: Callable[..., Consumer],
        ago: Callable[..., Any],
    ) -> None:
        port = free_port()
        running = consumer(
            "thread", application="checked", HUEY_OTEL_METRICS_PORT=str(port)
        )
        wait_for_port(running, port)

        told = ago(60, lambda: check(f"localhost:{port}"))

        assert told.found == {"clock": "warning"}
        assert told.text("clock").startswith(
            f"the clock of the consumer at localhost:{port} is"
        )


class TestOtlpRefuses:
    def test_a_consumer_has_lost_spans(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
    ) -> None:
        checked().add(1, 2)
        port = free_port()
        with receiver() as collector:
            collector.answer = Answer(refusal="INVALID_ARGUMENT", message="no token")
            running = consumer(
                *("thread", "-n"),
                application="checked",
                HUEY_OTEL_METRICS_PORT=str(port),
                OTEL_BSP_SCHEDULE_DELAY="50",
                **collector.environ,
            )
            wait_for_port(running, port)
            told = found(check, f"localhost:{port}", {"otlp-refuses": "warning"})

        assert told.text("otlp-refuses") == (
            f"the consumer at localhost:{port} has lost 1 span since its start"
        )


class TestPortTaken:
    def test_the_consumer_of_another_queue_serves_the_port(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
    ) -> None:
        port = free_port()
        running = consumer(
            "thread",
            application="checked",
            LIVE_QUEUE="other",
            HUEY_OTEL_METRICS_PORT=str(port),
        )
        wait_for_port(running, port)
        checked(HUEY_OTEL_METRICS_PORT=str(port))

        told = check(APPLICATION)

        assert told.found == {"port-taken": "warning"}
        assert told.text("port-taken").endswith("is served by the consumer of other")


class TestPlainConsumer:
    def test_neither_the_application_nor_a_connected_consumer_is_instrumented(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
        conn: redis.Redis,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(of_fleets, "_SETTLED", -1)
        checked(LIVE_BARE="1")
        consumer("thread", application="checked", LIVE_BARE="1")
        wait_for_client(conn, "brpop")

        told = check(APPLICATION)

        assert told.found == {"plain-consumer": "error"}
        assert told.text("plain-consumer").endswith(
            "and a consumer is connected from 127.0.0.1, and no publisher of huey-otel"
        )

    def test_the_consumer_was_not_restarted_since(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
        conn: redis.Redis,
        monkeypatch: pytest.MonkeyPatch,
        redis_url: str,
    ) -> None:
        monkeypatch.setattr(of_fleets, "_SETTLED", -1)
        module = checked(LIVE_PERIODIC="1")
        consumer("thread", application="checked", LIVE_BARE="1", LIVE_PERIODIC="1")
        module.add(1, 2).get(blocking=True, preserve=True)

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        assert told[0].found == {"plain-consumer": "warning"}
        assert (told[1].found, told[1].unknown) == ({}, {"plain-consumer"})

    def test_a_consumer_without_periodic_tasks_has_published_nothing_yet(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
        conn: redis.Redis,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(of_fleets, "_SETTLED", -1)
        plain = checked(LIVE_BARE="1")
        # What a process with huey-otel schedules, it publishes.
        schedule(plain.add.s(1, 2), -3600)
        module = checked(LIVE_BARE="")
        consumer("thread", "-n", application="checked")
        wait_for_client(conn, "brpop")

        before = check(APPLICATION)
        module.add(1, 2).get(blocking=True, preserve=True)
        wait_until(lambda: not check(APPLICATION).unknown)

        assert (before.found, before.unknown) == ({}, {"plain-consumer"})
        assert before.text("plain-consumer").endswith(
            "or it was started with -n and has run no task yet"
        )

    def test_a_consumer_that_has_just_started_may_have_said_nothing(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
        conn: redis.Redis,
    ) -> None:
        module = checked()
        consumer("thread", application="checked", LIVE_BARE="1")
        module.add(1, 2).get(blocking=True, preserve=True)

        told = check(APPLICATION)

        assert (told.found, told.unknown) == NOTHING


class TestSchedulers:
    def test_two_consumers_run_periodic_tasks(
        self,
        check: Callable[..., Told],
        consumer: Callable[..., Consumer],
        redis_url: str,
    ) -> None:
        for _ in range(2):
            running = consumer("thread", application="checked", LIVE_PERIODIC="often")
            running.wait_until_started()

        told = check(redis_url, "--queue", "live", "--listen", "8")

        host = platform.node()
        assert told.found == {"no-keys": "note", "schedulers": "warning"}
        assert told.text("schedulers").startswith("2 consumers run its periodic tasks:")
        assert told.text("schedulers").count(host) == 2

    def test_one_of_two_consumers_runs_no_periodic_tasks(
        self,
        check: Callable[..., Told],
        consumer: Callable[..., Consumer],
        redis_url: str,
    ) -> None:
        for options in ([], ["-n"]):
            running = consumer(
                *("thread", *options), application="checked", LIVE_PERIODIC="often"
            )
            running.wait_until_started()

        told = check(redis_url, "--queue", "live", "--listen", "5")

        assert told.found == {"no-keys": "note"}


@needs_huey_3
class TestOldHuey:
    def test_the_consumer_is_older(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
    ) -> None:
        port = free_port()
        older = consumer(
            "thread",
            application="checked",
            pythonpath=str(other_huey("2.6.0")),
            HUEY_OTEL_METRICS_PORT=str(port),
        )
        wait_for_port(older, port)
        checked(HUEY_OTEL_METRICS_PORT=str(port))

        told = check(APPLICATION)

        assert told.found == {"old-huey": "error"}
        assert told.text("old-huey").startswith(
            f"the consumer at localhost:{port} runs huey 2.6.0, which cannot read"
        )


class TestNoMonkeyPatch:
    def test_the_consumer_has_greenlets(
        self, check_apart: Callable[..., Told], consumer: Callable[..., Consumer]
    ) -> None:
        port = str(free_port())
        found = {}
        for patch in ("first", "never"):
            running = consumer(
                "greenlet",
                application="greenlets",
                LIVE_PATCH=patch,
                HUEY_OTEL_METRICS_PORT=port,
            )
            wait_for_port(running, int(port))
            told = check_apart(
                "tests.live.apps.greenlets.huey",
                LIVE_PATCH=patch,
                HUEY_OTEL_METRICS_PORT=port,
            )
            found[patch] = told.unknown
            running.clean_up()

        # Another program may patch before it imports this application.
        assert found == {"first": set(), "never": {"no-monkey-patch"}}


class TestStuck:
    def test_a_scheduler_lives_and_does_nothing(
        self,
        check: Callable[..., Told],
        consumer: Callable[..., Consumer],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        port = free_port()
        running = consumer(
            "process", application="checked", HUEY_OTEL_METRICS_PORT=str(port)
        )
        wait_for_port(running, port)
        before = check(f"localhost:{port}")
        # Not that of ten minutes.
        monkeypatch.setattr(pages, "_STUCK_AFTER", 1)
        scheduler, _worker = running.children()
        os.kill(scheduler, signal.SIGSTOP)

        told = found(check, f"localhost:{port}", {"stuck": "error"})
        os.kill(scheduler, signal.SIGCONT)
        assert (before.found, before.unknown) == NOTHING
        assert told.text("stuck").startswith(
            f"the consumer at localhost:{port} says: stuck, does not look at the"
            " schedule any more: Scheduler for "
        )

    def test_a_worker_is_dead(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        consumer: Callable[..., Consumer],
    ) -> None:
        port = free_port()
        # It does not look after its workers.
        running = consumer(
            "process", "-C", application="checked", HUEY_OTEL_METRICS_PORT=str(port)
        )
        wait_for_port(running, port)
        checked(HUEY_OTEL_METRICS_PORT=str(port))
        before = check(f"localhost:{port}")
        for child in running.children():
            os.kill(child, signal.SIGKILL)
        wait_until(lambda: bool(check(f"localhost:{port}").found))

        told = [check(APPLICATION), check(f"localhost:{port}")]

        running.stop_after_kills()
        assert (before.found, before.unknown) == NOTHING
        assert [one.found for one in told] == [{"stuck": "error"}] * 2
        assert (
            told[0].text("stuck").startswith(f"the consumer at localhost:{port} says: ")
        )
