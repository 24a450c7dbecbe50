"""The backlog: every layout of huey's in every spelling, and keys that are none."""

import datetime
import zoneinfo

import pytest
from huey import (
    PriorityRedisExpireHuey,
    PriorityRedisHuey,
    RedisExpireHuey,
    RedisHuey,
)

from huey_otel import instrument
from huey_otel._storage.spellings import keys_of, spellings
from huey_otel.cli.exporter.backlog import Backlog, Clock, UnreadableError, backlog
from tests.support.programs import run_program

pytestmark = [pytest.mark.live, pytest.mark.slow]

NAME = "My-App_1"
HOUR = datetime.timedelta(hours=1)


def clock(conn, zone=None):
    seconds, microseconds = conn.time()
    return Clock(seconds + microseconds / 1e6, zone)


def fill(kind, url, spelling):
    """A queue with three messages, two on the schedule, and a result."""
    huey = kind(NAME, url=url)
    storage = huey.storage
    storage.name = spelling
    storage.queue_key, storage.schedule_key, results = keys_of(spelling)
    if "Expire" in kind.__name__:
        storage.result_prefix = f"huey.r.{spelling}."
    else:
        storage.result_key = results

    @huey.task()
    def add():
        pass

    with instrument(huey, events=None, metrics_port=None):
        for _ in range(3):
            add()
        now = datetime.datetime.now(datetime.UTC)
        for eta in (now - HOUR, now + HOUR):
            huey.add_schedule(add.s(eta=eta))
        huey.storage.put_data("some-id", b"1", is_result=True)
    storage.pool.disconnect()


# huey 2 stores a result that expires by a command that redis-py 8 deprecates.
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
@pytest.mark.parametrize("spelling", spellings(NAME))
@pytest.mark.parametrize(
    ("kind", "results"),
    [
        (RedisHuey, 1),
        (PriorityRedisHuey, 1),
        (RedisExpireHuey, None),
        (PriorityRedisExpireHuey, None),
    ],
)
def test_each_layout_is_found_in_each_spelling(
    kind, results, spelling, redis_server, conn
):
    fill(kind, redis_server.url, spelling)

    told = backlog(conn, spellings(NAME), clock(conn))

    assert told._replace(oldest=None, overdue=None) == Backlog(3, 2, 1, results)
    assert 0 <= told.oldest < 60
    assert 3600 <= told.overdue < 3660


def test_a_queue_without_keys_is_empty(conn):
    assert backlog(conn, spellings(NAME), clock(conn)) == Backlog()


def test_an_empty_queue_has_no_ages(redis_server, conn):
    fill(RedisHuey, redis_server.url, "MyApp_1")
    conn.delete("huey.redis.MyApp_1", "huey.results.MyApp_1")
    conn.zremrangebyrank("huey.schedule.MyApp_1", 0, 0)

    told = backlog(conn, ["MyApp_1"], clock(conn))

    assert told == Backlog(scheduled=1)


def test_what_two_spellings_hold_is_added_up(redis_server, conn):
    for spelling in ("MyApp_1", "ypp1"):
        fill(RedisHuey, redis_server.url, spelling)

    told = backlog(conn, spellings(NAME), clock(conn))

    assert told[:4] == (6, 4, 2, 2)


def test_a_task_without_an_eta_is_due_and_not_overdue(conn):
    conn.zadd("huey.schedule.a", {"message": 0})

    assert backlog(conn, ["a"], clock(conn)) == Backlog(scheduled=1, due=1)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("huey.redis.a", "huey.redis.a is a string, and no queue"),
        ("huey.schedule.a", "huey.schedule.a is a string, and no schedule"),
    ],
)
def test_another_programs_key_is_no_empty_queue(key, text, conn):
    conn.set(key, "theirs")

    with pytest.raises(UnreadableError) as unreadable:
        backlog(conn, ["a"], clock(conn))

    assert str(unreadable.value) == text


def test_results_of_another_type_are_absent(conn):
    conn.set("huey.results.a", "theirs")

    assert backlog(conn, ["a"], clock(conn)) == Backlog()


SCHEDULE = """
import datetime, os
from huey import RedisHuey
huey = RedisHuey("a", url=os.environ["LIVE_QUEUE_URL"])
@huey.task()
def add():
    pass
now = datetime.datetime.now(datetime.UTC)
for minutes in (-30, 30):
    huey.add_schedule(add.s(eta=now + datetime.timedelta(minutes=minutes)))
"""


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "UTC"])
def test_what_is_due_is_told_by_the_zone_of_the_consumers(zone, redis_server, conn):
    done = run_program(SCHEDULE, LIVE_QUEUE_URL=redis_server.url, TZ=zone)
    assert done.returncode == 0, done.stderr

    told = {
        name: backlog(conn, ["a"], clock(conn, zoneinfo.ZoneInfo(name)))
        for name in ("America/New_York", "Asia/Kolkata", "UTC")
    }

    assert told[zone].due == 1
    assert 1800 <= told[zone].overdue < 1860
    # East of there nothing is due yet, west of there all is.
    order = ["Asia/Kolkata", "UTC", "America/New_York"]
    dues = [told[name].due for name in order]
    assert dues == [
        0 if order.index(n) < order.index(zone) else 1 if n == zone else 2
        for n in order
    ]


def test_without_a_zone_it_is_that_of_this_process(redis_server, conn):
    fill(RedisHuey, redis_server.url, "MyApp_1")

    assert backlog(conn, ["MyApp_1"], clock(conn)).due == 1


def test_ages_are_by_the_clock_that_is_given(redis_server, conn):
    fill(RedisHuey, redis_server.url, "MyApp_1")
    now = clock(conn)

    later = backlog(conn, ["MyApp_1"], now._replace(now=now.now + 600))

    assert 600 <= later.oldest < 660
    assert 4200 <= later.overdue < 4260
