"""Findings of queues, each provoked by real parts."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import redis
from huey import RedisHuey

from tests.support.checking import APPLICATION, Told, schedule
from tests.support.programs import ROOT, needs_huey_3, other_huey, run_program
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.once, pytest.mark.slow]

WARNED = {"results": "warning"}


class TestNoKeys:
    def test_the_keys_are_in_another_database(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_server: RedisServer,
    ) -> None:
        checked(LIVE_QUEUE_URL=f"redis://127.0.0.1:{redis_server.port}/3").add(1, 2)
        module = checked(LIVE_QUEUE_URL=redis_server.url)

        told = [check(APPLICATION), check(redis_server.url, "--queue", "live")]

        assert module.huey.storage.queue_size() == 0
        said = "no key of it in database 0, but its keys are in database 3"
        assert [(one.found, one.text("no-keys"), one.code) for one in told] == [
            ({"no-keys": "error"}, said, 1)
        ] * 2

    def test_a_queue_has_a_similar_name(
        self,
        check: Callable[..., Told],
        redis_url: str,
        checked: Callable[..., ModuleType],
    ) -> None:
        checked(LIVE_QUEUE="orders").add(1, 2)

        told = check(redis_url, "--queue", "order")

        assert told.found == {"no-keys": "warning"}
        assert "did you mean 'orders'?" in told.text("no-keys")

    def test_redis_is_empty(self, check: Callable[..., Told], redis_url: str) -> None:
        told = check(redis_url, "--queue", "live")

        assert told.found == {"no-keys": "note"}
        assert told.code == 0

    def test_the_keys_may_not_be_looked_at(
        self, check: Callable[..., Told], conn: redis.Redis, redis_server: RedisServer
    ) -> None:
        conn.acl_setuser(
            "blind",
            enabled=True,
            passwords=["+s"],
            categories=["+@all"],
            channels=["*"],
        )

        told = check(
            f"redis://blind:s@127.0.0.1:{redis_server.port}", "--queue", "live"
        )

        assert told.found == {}
        assert told.unknown == {"no-keys", "overdue", "plain-producer"}


class TestTwoNames:
    @pytest.fixture
    def both(self, redis_url: str) -> None:
        """What huey 2 and huey 3 enqueue on a queue of one name."""
        code = (
            "import os, huey; h = huey.RedisHuey('My-App_1', url=os.environ['URL']);"
            "h.task(name='add')(lambda: None)()"
        )
        for path in (str(other_huey("2.6.0")), str(ROOT)):
            done = run_program(code, URL=redis_url, PYTHONPATH=path)
            assert done.returncode == 0, done.stderr

    @needs_huey_3
    @pytest.mark.once
    def test_huey_2_and_huey_3_spell_a_name_differently(
        self, both: None, check: Callable[..., Told], redis_url: str
    ) -> None:
        told = check(redis_url, "--queue", "My-App_1")

        assert told.found["two-names"] == "error"
        assert told.text("two-names") == (
            "it has two names in Redis: huey.redis.MyApp_1 (1 message) and"
            " huey.redis.ypp1 (1 message)"
        )

    def test_this_environment_reads_the_other_spelling(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        other = RedisHuey("my-app", url=redis_url)
        other.storage.name = "my-app"
        other.storage.queue_key = "huey.redis.my-app"
        other.task(name="add")(lambda: None)()
        other.storage.conn.close()
        checked(LIVE_QUEUE="my-app")

        told = check(APPLICATION)

        assert told.found["two-names"] == "error"
        assert told.text("two-names") == (
            "its keys are huey.redis.my-app (1 message), and huey in this environment"
            " reads huey.redis.myapp"
        )

    def test_only_results_are_under_the_other_spelling(
        self, check: Callable[..., Told], conn: redis.Redis, redis_url: str
    ) -> None:
        conn.hset("huey.results.MyApp", "an id", "a result")
        conn.hset("huey.results.ypp", "an id", "a result")

        told = check(redis_url, "--queue", "MyApp")

        assert told.found == {"two-names": "note"}


class TestNoConsumer:
    def test_messages_have_waited_for_two_minutes(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        ago: Callable[..., Any],
        redis_url: str,
    ) -> None:
        module = checked()
        ago(120, lambda: module.add(1, 2))

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        said = "1 message waits, the oldest for 2 min, and no consumer is connected to"
        assert [(one.found, one.text("no-consumer"), one.code) for one in told] == [
            ({"no-consumer": "error"}, f"{said} database 0", 1)
        ] * 2

    def test_messages_have_just_come(
        self, check: Callable[..., Told], checked: Callable[..., ModuleType]
    ) -> None:
        checked().add(1, 2)

        assert check(APPLICATION).found == {"no-consumer": "warning"}

    def test_periodic_tasks_have_no_scheduler(
        self, check: Callable[..., Told], checked: Callable[..., ModuleType]
    ) -> None:
        checked(LIVE_PERIODIC="1")

        told = check(APPLICATION)

        assert told.found == {"no-consumer": "warning"}
        assert check(APPLICATION, "--strict").code == 1

    def test_the_list_of_clients_is_refused(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
    ) -> None:
        checked().add(1, 2)
        conn.acl_setuser(
            "default",
            enabled=True,
            nopass=True,
            keys=["*"],
            channels=["*"],
            categories=["+@all"],
            commands=["-client|list"],
        )

        told = check(APPLICATION)

        assert told.found == {}
        assert told.unknown == {"no-consumer", "plain-consumer"}
        assert all("CLIENT LIST is refused" in one["text"] for one in told.findings)


class TestOverdue:
    def test_a_task_is_due_for_ten_minutes(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        module = checked()
        schedule(module.add.s(1, 2), 600)

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        said = "the first task on the schedule has been due for 10 min"
        both = {"no-consumer": "error", "overdue": "error"}
        assert [(one.found, one.text("overdue")) for one in told] == [(both, said)] * 2

    def test_a_plain_message_is_due_by_the_time_zone_of_this_machine(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        module = checked(LIVE_BARE="1")
        schedule(module.add.s(1, 2), 600)

        assert check(redis_url, "--queue", "live").found["overdue"] == "warning"

    def test_a_task_is_overdue_by_more_than_any_time_zone(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        redis_url: str,
    ) -> None:
        module = checked(LIVE_BARE="1")
        schedule(module.add.s(1, 2), 86_400)

        assert check(redis_url, "--queue", "live").found["overdue"] == "error"

    def test_a_trailer_tells_the_due_time_in_any_time_zone(
        self, check: Callable[..., Told], redis_url: str, conn: redis.Redis
    ) -> None:
        code = (
            "from tests.support.checking import schedule;"
            "from tests.live.apps import checked;"
            "schedule(checked.add.s(1, 2), 600)"
        )
        for zone in ("America/New_York", "Europe/Berlin"):
            done = run_program(code, LIVE_QUEUE_URL=redis_url, TZ=zone)
            assert done.returncode == 0, done.stderr

            told = check(redis_url, "--queue", "live")

            assert told.text("overdue").endswith("due for 10 min")
            conn.flushall()


class TestOldMessage:
    def test_a_message_has_waited_for_two_days(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        ago: Callable[..., Any],
        redis_url: str,
    ) -> None:
        module = checked()
        ago(2 * 86_400, lambda: module.add(1, 2))

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        both = {"no-consumer": "error", "old-message": "warning"}
        said = "the oldest message has waited for 2 d"
        assert [(one.found, one.text("old-message")) for one in told] == [
            (both, said)
        ] * 2

    def test_an_old_message_has_a_low_priority(
        self,
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        ago: Callable[..., Any],
        redis_url: str,
    ) -> None:
        module = checked(LIVE_HUEY="PriorityRedisHuey")
        ago(2 * 86_400, lambda: module.huey.enqueue(module.add.s(1, 2, priority=-1)))
        module.add(3, 4)

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        assert [one.found["old-message"] for one in told] == ["warning"] * 2


class TestResults:
    @pytest.mark.parametrize(("number", "found"), [(10_000, {}), (10_001, WARNED)])
    def test_ten_thousand_results_and_one_more_are_kept(
        self,
        number: int,
        found: dict[str, str],
        check: Callable[..., Told],
        checked: Callable[..., ModuleType],
        conn: redis.Redis,
        redis_url: str,
    ) -> None:
        module = checked()
        key = module.huey.storage.result_key
        conn.hset(key, mapping={str(one): b"a result" for one in range(number)})

        told = [check(APPLICATION), check(redis_url, "--queue", "live")]

        assert [one.found for one in told] == [found, found]
