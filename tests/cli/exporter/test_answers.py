"""The exporter's answers: what Redis tells, and never a 0 for what it does not."""

import json
import zlib

import pytest
import redis

from huey_otel._prometheus.catalog import EXPORTER, OF_STORAGE
from huey_otel.cli.exporter import stored
from tests.live.scraping import samples
from tests.support.programs import snippet
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.slow]

COUNT = 'huey_task_retries_total{queue="my-app",task="t"} 3.0\n'
BUSY = 'huey_workers_busy{queue="my-app",worker_type="thread"} 2.0\n'
ACL = "-@all +@read +@connection -@dangerous +time +info ~huey.*"
assert ACL.removesuffix(" ~huey.*") in snippet("docs/scale.md", "acl")


def get(answers, target, accept=""):
    page = answers.get(target, accept)
    return page.status, page.body.decode()


def shown(answers, target="/metrics"):
    """The samples of the page, with the labels in a frozenset."""
    status, page = get(answers, target)
    assert status == 200
    return samples(page)


def sample(name, value, **labels):
    return {(name, frozenset(labels.items())): value}


def consumers(answers, target="/metrics"):
    """The consumers whose counts are on the page."""
    return {
        dict(labels)["consumer"]
        for name, labels in shown(answers, target)
        if name == "huey_task_retries_total"
    }


def counts(page):
    """The count of each consumer."""
    return {
        dict(labels)["consumer"]: number
        for (name, labels), number in page.items()
        if name == "huey_task_retries_total"
    }


def states(answers):
    """How many pages there are, by state."""
    return {
        dict(labels)["state"]: number
        for (name, labels), number in shown(answers).items()
        if name == "huey_exporter_pages"
    }


def queues(answers, target="/queues?queue=my-app"):
    status, body = get(answers, target)
    return json.loads(body) if status == 200 else (int(status), body)


def user(conn, rules, name="exporter"):
    conn.execute_command(
        *("ACL", "SETUSER", name, "reset", "on", ">secret", *rules.split())
    )


def as_user(server):
    return server.url.replace("redis://", "redis://exporter:secret@")


class TestMetrics:
    def test_the_whole_page(self, answers, leave, conn):
        leave(COUNT + BUSY, age=1)
        conn.lpush("huey.redis.myapp", b"a", b"b")

        page = shown(answers())

        of_queue = {"queue": "my-app"}
        own = {**of_queue, "consumer": "web-1:7"}
        age = page.pop(("huey_exporter_page_age_seconds", frozenset(own.items())))
        assert 1 <= age < 60
        assert page == {
            **sample("huey_task_retries_total", 3, task="t", **own),
            **sample("huey_workers_busy", 2, worker_type="thread", **own),
            **sample("huey_storage_up", 1, **of_queue),
            **sample("huey_queue_length", 2, **of_queue),
            **sample("huey_schedule_length", 0, **of_queue),
            **sample("huey_exporter_up", 1),
            **sample("huey_exporter_pages", 1, state="live", **of_queue),
            **sample("huey_exporter_series_skipped", 0, **own),
        }

    def test_it_is_in_the_format_that_is_accepted(self, answers, leave):
        leave(COUNT)
        made = answers()

        text = made.get("/metrics", "")
        openmetrics = made.get("/metrics", "application/openmetrics-text")

        assert text.content_type.startswith("text/plain; version=0.0.4")
        assert b"# TYPE huey_task_retries_total counter" in text.body
        assert openmetrics.content_type.startswith("application/openmetrics-text")
        assert b"# TYPE huey_task_retries counter" in openmetrics.body
        assert openmetrics.body.endswith(b"# EOF\n")

    def test_queues_and_consumers_may_be_picked(self, answers, leave):
        leave(COUNT, consumer="a:1")
        leave(COUNT, consumer="b:1")
        leave(COUNT, consumer="c:1", storage="other", queue="other")
        made = answers("my-app", "other")

        assert consumers(made) == {"a:1", "b:1", "c:1"}
        assert consumers(made, "/metrics?queue=my-app") == {"a:1", "b:1"}
        assert consumers(made, "/metrics?consumer=b:1") == {"b:1"}
        assert consumers(made, "/metrics?consumer=b:1&consumer=c:1") == {"b:1", "c:1"}
        # They are not of one consumer.
        names = {name for name, _ in shown(made, "/metrics?consumer=b:1")}
        assert names.isdisjoint(OF_STORAGE)
        assert set(EXPORTER) <= names

    def test_pages_of_consumers_that_are_not_asked_for_are_not_read(
        self, answers, leave, conn
    ):
        leave(COUNT, consumer="a:1")
        leave(COUNT, consumer="b:1", started=1)
        leave(COUNT, consumer="b:1", started=2)
        leave(page=b"noise", consumer="c:1")
        made = answers()

        assert consumers(made, "/metrics?consumer=a:1") == {"a:1"}
        assert consumers(made, "/metrics?consumer=b:1:1") == {"b:1:1"}
        conn.config_resetstat()
        assert consumers(made, "/metrics?consumer=a:1") == {"a:1"}
        assert conn.info("commandstats")["cmdstat_getrange"]["calls"] == 1

    def test_pages_are_found_in_each_spelling(self, answers, leave):
        for number, storage in enumerate(("MyApp_1", "ypp1", "My-App_1")):
            leave(COUNT, storage=storage, consumer=f"{storage}:{number}")

        assert len(consumers(answers("My-App_1"))) == 3

    def test_where_pages_say_the_spelling_the_others_are_not_counted(
        self, answers, leave, conn
    ):
        conn.lpush("huey.redis.APIjobs", b"a")
        conn.lpush("huey.redis.jobs", b"b", b"c")
        length = ("huey_queue_length", frozenset({("queue", "API-jobs")}))
        made = answers("API-jobs")

        without = shown(made)[length]
        leave(COUNT, storage="APIjobs", queue="API-jobs")

        assert (without, shown(made)[length]) == (3, 1)

    def test_exact_names_have_one_spelling(self, answers, conn):
        conn.lpush("huey.redis.APIjobs", b"a")
        conn.lpush("huey.redis.jobs", b"b", b"c")

        assert (
            queues(answers("APIjobs", exact=True), "/queues?queue=APIjobs")["waiting"]
            == 1
        )

    def test_a_name_of_which_huey_keeps_nothing_is_found(self, answers, leave, conn):
        # All such queues share these keys.
        conn.lpush("huey.redis.", b"a")
        leave(COUNT, storage="заказы", queue="заказы")

        page = shown(answers("заказы"))

        assert page[("huey_queue_length", frozenset({("queue", "заказы")}))] == 1
        assert ("huey_exporter_up", frozenset()) in page

    def test_an_answer_that_does_not_end_holds_up_the_next_for_seconds_only(
        self, answers, monkeypatch
    ):
        monkeypatch.setattr("huey_otel.cli.exporter.look._PATIENCE", 0.05)
        made = answers()

        with made._look._lock:
            said = [get(made, path) for path in ("/metrics", "/queues", "/healthz")]

        assert said == [(503, "another answer does not end\n")] * 3


class TestPages:
    def test_a_page_that_is_not_renewed_shows_only_counters(self, answers, leave):
        leave(COUNT + BUSY, age=90, interval=50)
        leave(COUNT + BUSY, age=160, interval=50, consumer="b:1")
        leave(COUNT + BUSY, age=540, interval=200, consumer="c:1")

        made = answers()

        names = {
            (name, dict(labels).get("consumer"))
            for name, labels in shown(made)
            if name in ("huey_task_retries_total", "huey_workers_busy")
        }
        assert names == {
            ("huey_task_retries_total", "web-1:7"),
            ("huey_workers_busy", "web-1:7"),
            ("huey_task_retries_total", "b:1"),
            ("huey_task_retries_total", "c:1"),
            ("huey_workers_busy", "c:1"),
        }
        assert states(made) == {"live": 2, "stale": 1}

    def test_the_last_page_shows_only_counters(self, answers, leave):
        leave(COUNT + BUSY, ended=True)

        names = {name for name, _ in shown(answers())}

        assert "huey_task_retries_total" in names
        assert "huey_workers_busy" not in names

    def test_a_page_is_gone_after_ten_minutes(self, answers, leave, conn):
        key = leave(COUNT, age=599)
        made = answers()
        conn.pexpire(key, 1)
        wait_until(lambda: not conn.exists(key))

        assert consumers(made) == set()
        assert states(made) == {}

    @pytest.mark.parametrize("ended", [True, False], ids=["stopped", "killed"])
    def test_a_restarted_consumer_begins_again_and_loses_nothing(
        self, answers, leave, ended
    ):
        leave(COUNT + BUSY, started=1, age=20, ended=ended)
        leave(COUNT.replace("3.0", "1.0") + BUSY, started=2)
        made = answers()

        page = shown(made)

        assert counts(page) == {"web-1:7": 1, "web-1:7:1": 3}
        busy = [dict(labels) for name, labels in page if name == "huey_workers_busy"]
        assert [labels["consumer"] for labels in busy] == ["web-1:7"]
        assert states(made) == {"live": 1, "replaced": 1}
        assert queues(made)["running"] == 2

    def test_of_two_that_are_gone_the_last_one_has_the_name(self, answers, leave):
        leave(COUNT, started=1, age=60, ended=True)
        leave(COUNT.replace("3.0", "1.0"), started=2, age=50)
        made = answers()

        assert counts(shown(made)) == {"web-1:7": 1, "web-1:7:1": 3}
        assert states(made) == {"stale": 1, "replaced": 1}

    def test_a_name_goes_to_the_next_one_and_never_back(self, answers, leave):
        """Whichever of two that run under one id is renewed, or ends, first."""
        made = answers()
        for one, other in (
            ({"age": 0}, {"age": 2}),
            ({"age": 2}, {"age": 0}),
            # As after a kill: it is live for a while.
            ({"age": 14}, {"age": 0}),
            ({"age": 300, "ended": True}, {"age": 0}),
            ({"age": 0}, {"age": 300, "ended": True}),
        ):
            leave(COUNT, started=9, **one)
            leave(COUNT.replace("3.0", "1.0"), started=10, **other)

            assert counts(shown(made)) == {"web-1:7": 1, "web-1:7:9": 3}

    def test_more_pages_than_may_be_are_not_read(self, answers, leave, monkeypatch):
        monkeypatch.setattr(stored, "_MOST", 2)
        for number in range(4):
            leave(COUNT, consumer=f"c:{number}", age=number)

        made = answers()

        assert consumers(made) == {"c:0", "c:1"}
        assert states(made) == {"live": 2, "too_large": 1}

    def test_all_pages_together_have_a_limit(self, answers, leave, monkeypatch):
        text = COUNT * 100
        monkeypatch.setattr(stored, "LARGEST_TOGETHER", 3 * len(text) - 1)
        for number in range(3):
            leave(text, consumer=f"c:{number}")

        assert states(answers()) == {"live": 2, "too_large": 1}

    @pytest.mark.parametrize(
        ("changed", "state"),
        [
            pytest.param({"page": b"noise"}, "damaged", id="noise"),
            pytest.param({"page": b"x" * (33 << 20)}, "too_large", id="33 MB"),
            pytest.param(
                {"page": zlib.compress(b"0" * (100 << 20))}, "damaged", id="no head"
            ),
        ],
    )
    def test_a_page_that_cannot_be_read_is_skipped_and_counted(
        self, changed, state, answers, leave, conn, capfd
    ):
        key = leave(consumer="b:1", **changed)
        leave(COUNT)
        made = answers()

        assert consumers(made) == {"web-1:7"}
        assert states(made) == {"live": 1, state: 1}
        assert shown(made)[("huey_exporter_up", frozenset())] == 1
        said = capfd.readouterr().err.splitlines()
        assert len(said) == 1
        assert said[0].startswith(f"huey-otel: page {key} is skipped, it ")
        # So its running tasks are not known.
        assert queues(made)[0] == 503

    def test_a_newer_page_and_a_bomb_are_skipped(self, answers, leave, foreign):
        leave(page=foreign(COUNT, format=2), consumer="a:1")
        leave(page=foreign("\0" * (100 << 20)), consumer="b:1")
        leave(COUNT)
        made = answers()

        assert consumers(made) == {"web-1:7"}
        assert states(made) == {"live": 1, "newer": 1, "too_large": 1}

    def test_a_key_of_another_type_is_skipped(self, answers, leave, conn):
        key = leave(COUNT, consumer="b:1")
        conn.delete(key)
        conn.lpush(key, "theirs")
        leave(COUNT)
        made = answers()

        assert consumers(made) == {"web-1:7"}
        assert states(made) == {"live": 1, "wrong_type": 1}

    @pytest.mark.parametrize("seconds", [None, 10_000])
    def test_a_page_without_the_right_expiry_is_skipped(
        self, seconds, answers, leave, conn
    ):
        key = leave(COUNT)
        if seconds is None:
            conn.persist(key)
        else:
            conn.expire(key, seconds)

        assert states(answers()) == {"damaged": 1}

    def test_odd_entries_of_the_index_are_harmless(self, answers, leave, conn):
        leave(COUNT)
        odd = {b"\xff\x00\n": 1, b"": 2, b"a" * 100_000: 3, b":::": 4}
        conn.zadd("huey.metrics.myapp", odd)

        made = answers()

        assert consumers(made) == {"web-1:7"}
        assert states(made) == {"live": 1}

    def test_series_that_are_not_ours_are_counted(self, answers, leave):
        leave(f'{COUNT}secret{{id="1"}} 1.0\n')

        page = shown(answers())

        own = frozenset({("queue", "my-app"), ("consumer", "web-1:7")})
        assert page[("huey_exporter_series_skipped", own)] == 1
        assert "secret" not in {name for name, _ in page}

    def test_a_name_of_a_consumer_cannot_break_the_page(self, answers, leave, foreign):
        name = 'a" \\ \n} 1\n# TYPE x counter\nhuey_exporter_up 7'
        leave(page=foreign(COUNT, consumer=name))

        page = shown(answers())

        assert page[("huey_exporter_up", frozenset())] == 1
        assert [key for key in page if key[0] == "x"] == []


class TestQueues:
    def test_what_there_is_to_do(self, answers, leave, conn):
        leave(BUSY, consumer="a:1")
        leave(BUSY.replace("2.0", "1.0"), consumer="b:1")
        leave(BUSY, consumer="gone:1", ended=True)
        leave(BUSY, consumer="silent:1", age=300)
        conn.lpush("huey.redis.myapp", b"a", b"b", b"c")
        now = conn.time()[0]
        conn.zadd("huey.schedule.myapp", {"x": now - 60, "y": now + 3_600})

        told = queues(answers())

        assert told == {
            "waiting": 3,
            "scheduled": 2,
            "due": 1,
            "running": 3,
            "work": 7,
        }

    def test_busy_workers_of_other_queues_do_not_count(self, answers, leave):
        leave(BUSY + BUSY.replace("my-app", "other"))

        assert queues(answers())["running"] == 2

    def test_without_pages_it_is_not_known_what_runs(self, answers, conn):
        conn.lpush("huey.redis.myapp", b"a")

        assert queues(answers()) == {
            "waiting": 1,
            "scheduled": 0,
            "due": 0,
            "running": None,
            "work": 1,
            "ignores": ["running"],
        }

    def test_without_the_parameter_all_queues_are_told(self, answers, leave):
        leave(BUSY)

        told = queues(answers("my-app", "other"), "/queues")

        assert told == {
            "my-app": {
                **dict.fromkeys(("waiting", "scheduled", "due"), 0),
                "running": 2,
                "work": 2,
            },
            "other": {
                **dict.fromkeys(("waiting", "scheduled", "due", "work"), 0),
                "running": None,
                "ignores": ["running"],
            },
        }

    def test_an_unknown_queue_is_not_found(self, answers):
        for path in ("/queues", "/metrics"):
            assert get(answers("a", "b"), f"{path}?queue=c") == (
                404,
                "no queue 'c' here; there are 'a', 'b'\n",
            )

    @pytest.mark.parametrize(
        "key", ["huey.redis.myapp", "huey.schedule.myapp", "huey.metrics.myapp"]
    )
    def test_another_programs_key_is_no_zero(self, key, answers, conn, capfd):
        conn.hset(key, "theirs", "1")
        made = answers("my-app", "other")

        status, body = queues(made)
        page = shown(made)

        assert status == 503
        assert key in body
        assert page[("huey_exporter_up", frozenset())] == 0
        of = [frozenset({("queue", name)}) for name in ("my-app", "other")]
        metrics = key.startswith("huey.metrics")
        assert [page[("huey_storage_up", one)] for one in of] == [float(metrics), 1]
        assert (("huey_queue_length", of[0]) in page) is metrics
        assert queues(made, "/queues?queue=other")["work"] == 0
        assert key in capfd.readouterr().err


class TestRedis:
    def test_one_that_is_away_is_told_and_no_zero(
        self, answers, leave, redis_server, capfd
    ):
        leave(COUNT)
        made = answers()
        shown(made)
        redis_server.stop()

        page = shown(made)
        asked = [get(made, path)[0] for path in ("/queues", "/healthz")]
        redis_server.start()
        again = shown(made)

        of_queue = frozenset({("queue", "my-app")})
        assert page == {
            ("huey_exporter_up", frozenset()): 0,
            ("huey_storage_up", of_queue): 0,
        }
        assert asked == [503, 503]
        assert get(made, "/healthz") == (200, "ok\n")
        assert again[("huey_exporter_up", frozenset())] == 1
        assert states(made) == {}
        away, back = capfd.readouterr().err.splitlines()
        assert " cannot be asked: " in away
        assert back.endswith(" tells all of 'my-app' again")

    def test_one_that_hangs_is_told(self, answers, redis_server):
        made = answers("a", "b", "c")
        shown(made)

        redis_server.pause()
        page = shown(made)
        redis_server.resume()

        assert page[("huey_exporter_up", frozenset())] == 0
        assert queues(made, "/queues?queue=a")["work"] == 0

    def test_documented_permissions_are_enough_and_nothing_else_is_sent(
        self, answers, leave, conn, redis_server
    ):
        leave(COUNT + BUSY)
        now = conn.time()[0]
        for name in ("myapp", "other"):
            conn.zadd(f"huey.schedule.{name}", {"x": now - 60})
            conn.hset(f"huey.results.{name}", "x", "1")
        conn.lpush("huey.redis.myapp", b"a")
        stamp = (now * 1_000_000).to_bytes(8, "big")
        conn.zadd("huey.redis.other", {stamp + b"a": 1})
        conn.execute_command(*snippet("docs/scale.md", "acl").split())
        conn.acl_log_reset()
        url = as_user(redis_server).replace("secret", "PASSWORD")
        made = answers("my-app", "other", url=url)

        page = shown(made)
        told = queues(made, "/queues")
        well = get(made, "/healthz")[0]

        assert page[("huey_exporter_up", frozenset())] == 1
        names = {name for name, _ in page}
        assert set(OF_STORAGE) <= names
        assert told["my-app"] == {
            "waiting": 1,
            "scheduled": 1,
            "due": 1,
            "running": 2,
            "work": 4,
        }
        assert well == 200
        assert conn.acl_log() == []

    def test_without_commands_that_read_messages_only_ages_are_absent(
        self, answers, conn, redis_server
    ):
        conn.lpush("huey.redis.myapp", b"a")
        conn.zadd("huey.schedule.myapp", {"x": conn.time()[0] - 60})
        user(conn, f"{ACL} -lindex -zrange -zrangebyscore -info")
        made = answers(url=as_user(redis_server))

        names = {name for name, _ in shown(made)}

        absent = {"huey_queue_oldest_age_seconds", "huey_schedule_overdue_age_seconds"}
        assert set(OF_STORAGE) - names == {*absent, "huey_results"}
        assert queues(made)["work"] == 2

    @pytest.mark.parametrize(
        "command", ["time", "type", "llen", "zcount", "zrevrange", "getrange"]
    )
    def test_a_refused_command_is_no_zero(
        self, command, answers, leave, conn, redis_server
    ):
        leave(BUSY)
        conn.lpush("huey.redis.myapp", b"a")
        user(conn, f"{ACL} -{command}")
        made = answers(url=as_user(redis_server))

        status, body = queues(made)

        assert status == 503
        assert "secret" not in body
        assert shown(made)[("huey_exporter_up", frozenset())] == 0

    def test_a_wrong_password_is_told(self, answers, conn, redis_server):
        user(conn, ACL)
        url = as_user(redis_server).replace("secret", "wrong")

        status, body = get(answers(url=url), "/healthz")

        assert status == 503
        assert "wrong:" not in body
        assert "exporter:wrong" not in body


def test_other_paths_are_not_found(answers):
    assert get(answers(), "/") == (
        404,
        "nothing here, try /metrics, /queues or /healthz\n",
    )
    assert get(answers(), "http://[")[0] == 400


def test_the_clock_of_this_machine_does_not_matter(answers, leave, conn, monkeypatch):
    leave(COUNT, age=2)
    conn.zadd("huey.schedule.myapp", {"x": conn.time()[0] - 60})
    made = answers()
    right = queues(made)
    import time

    now = time.time
    for hours in (-1, 1):
        monkeypatch.setattr(time, "time", lambda hours=hours: now() + hours * 3_600)
        page = shown(made)

        assert queues(made) == right
        overdue = (
            "huey_schedule_overdue_age_seconds",
            frozenset({("queue", "my-app")}),
        )
        assert 60 <= page[overdue] < 120
        assert states(made) == {"live": 1}


def test_two_exporters_say_the_same(answers, leave, redis_server):
    leave(COUNT, age=1)

    one, other = (
        {key: value for key, value in shown(answers()).items() if "age" not in key[0]}
        for _ in range(2)
    )

    assert one == other


def test_nothing_is_written(answers, leave, conn):
    leave(COUNT)
    conn.lpush("huey.redis.myapp", b"a")
    before = conn.info("commandstats")

    made = answers()
    shown(made)
    queues(made)

    after = conn.info("commandstats")
    sent = {name for name in after if after[name] != before.get(name)}
    writes = {"set", "zadd", "del", "expire", "eval", "lpush", "zremrangebyscore"}
    assert sent.isdisjoint({f"cmdstat_{name}" for name in writes})
    assert isinstance(conn, redis.Redis)
