"""The look: how often Redis is asked, and what is read again."""

import pytest

from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel.cli.exporter.look import Look
from huey_otel.cli.exporter.together import Together
from huey_otel.cli.target import Queues

pytestmark = pytest.mark.live

TEXT = 'huey_workers{queue="my-app",worker_type="thread"} 4.0\n'


@pytest.fixture
def look(redis_server):
    """A look at my-app, by default one that keeps pages; returns names, ages, texts."""

    def make(*, keep=True):
        target = Queues(RedisEventEmitter(url=redis_server.url), ("my-app",))
        asked = Look(target, None, quiet=True, keep=keep)

        def look():
            found = []
            (seen,) = asked(["my-app"], lambda _, page: found.append(page))
            assert seen.troubles == []
            return found, seen.bad

        return look

    return make


@pytest.fixture
def read(conn):
    """How many pages were read since it was last called."""
    last = 0

    def read():
        nonlocal last
        told = conn.info("commandstats").get("cmdstat_getrange", {"calls": 0})
        before, last = last, told["calls"]
        return last - before

    read()
    return read


def test_however_many_pages_there_are_it_takes_two_trips(
    look, leave, conn, monkeypatch
):
    trips = []
    send = Together.send
    monkeypatch.setattr(Together, "send", lambda one: trips.append(one) or send(one))
    conn.lpush("huey.redis.myapp", b"a")
    conn.zadd("huey.schedule.myapp", {"x": 1})
    for number in range(40):
        leave(TEXT, consumer=f"web:{number}")

    for keep in (False, True):
        found, _ = look(keep=keep)()
        assert len(found) == 40
        assert len(trips) == 2
        trips.clear()


def test_pages_beyond_the_first_come_in_further_trips(look, leave):
    for number in range(150):
        leave(TEXT, consumer=f"web:{number}")

    found, _ = look()()

    assert {page.name for page in found} == {f"web:{number}" for number in range(150)}


def test_a_large_page_is_read_whole(look, leave, foreign):
    text = TEXT + "".join(
        f"# {number * 7919 % 1_000_003}\n" for number in range(300_000)
    )
    leave(text)

    ((page,), _) = look()()

    assert page.text == text


def test_only_pages_that_were_renewed_are_read_again(look, leave, read):
    for number in range(3):
        leave(TEXT, consumer=f"web:{number}", age=1)
    again = look()
    again()
    assert read() == 3

    kept, _ = again()
    assert read() == 0
    leave(TEXT + TEXT, consumer="web:1")
    renewed, _ = again()

    assert read() == 1
    assert {page.text for page in kept} == {TEXT}
    assert {page.name: page.text for page in renewed}["web:1"] == TEXT + TEXT
    ages = {page.name: page.age for page in renewed}
    assert ages["web:1"] < 1 <= ages["web:0"] < 60


def test_a_page_that_becomes_stale_is_read_again(look, leave, read):
    """It may have been the last but one."""
    key = leave(TEXT, interval=1.0, age=1.0)
    again = look()
    ((live,), _) = again()
    read()

    leave(TEXT, interval=1.0, age=3.5)
    ((stale,), _) = again()

    assert (live.state, stale.state, read()) == ("live", "stale", 1)
    assert key.endswith("web-1:7:1")


def test_pages_that_are_gone_are_forgotten(look, leave, conn):
    key = leave(TEXT)
    leave(TEXT, consumer="web:2")
    again = look()
    assert len(again()[0]) == 2

    conn.delete(key)
    assert [page.name for page in again()[0]] == ["web:2"]
    conn.delete("huey.metrics.myapp")
    assert again() == ([], [])


@pytest.mark.parametrize("seconds", [None, 600])
def test_what_is_no_page_is_not_read_again_and_again(seconds, look, conn, leave, read):
    key = leave(page=b"x" * (33 << 20))
    if seconds is None:
        conn.persist(key)
    again = look()
    _, bad = again()
    read()

    _, later = again()

    assert [one.key for one in bad] == [one.key for one in later] == [key]
    assert read() == 0


def test_without_keep_each_page_is_read_each_time(look, leave, read):
    leave(TEXT)
    again = look(keep=False)
    again()
    read()

    again()

    assert read() == 1
