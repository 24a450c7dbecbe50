"""The page writer: a page at once, each interval and last, whatever Redis does."""

import os
import threading

import pytest
import redis

from huey_otel import RedisEventEmitter
from huey_otel._redis.pages import PageWriter
from huey_otel._wire.page import Head, unpack
from tests.support.forks import said_in_child
from tests.support.redis_server import serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.live

HEAD = Head("shop", "web-1:7", 1.0, "0.1.0")
INDEX = "huey.metrics.q"

server = pytest.fixture(serving)


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


class Text:
    """What the page says: how often it was made, and whether it has gauges."""

    def __init__(self):
        self.made = 0

    def __call__(self, *, gauges):
        self.made += 1
        return f"{self.made} {gauges}"


@pytest.fixture
def write(server):
    """Makes a page writer that has begun, by default on the server of the test."""
    made = []

    def write(url=server.url, *, interval=100.0, make=None, storage="q"):
        head = HEAD._replace(interval=interval)
        writer = PageWriter(RedisEventEmitter(url=url), storage, head, make or Text())
        made.append(writer)
        writer.begin()
        return writer

    yield write
    for writer in made:
        writer.close()
        writer._thread.join(10)


def pages(admin, index=INDEX):
    """The pages of the index, by publisher."""
    return {
        publisher: unpack(admin.get(f"{index}.{publisher.decode()}"))
        for publisher in admin.zrange(index, 0, -1)
    }


def messages(caplog):
    return [entry.getMessage() for entry in caplog.records]


def user(admin, *rules):
    """A user that may write pages, but for *rules*."""
    admin.execute_command(
        *("ACL", "SETUSER", "pages", "reset", "on", ">secret", "~huey.metrics.*"),
        *("-@all", "+set", "+zadd", "+zremrangebyscore", "+expire", "+time", *rules),
    )


def as_user(server):
    return server.url.replace("redis://", "redis://pages:secret@")


def test_a_page_is_written_at_once_and_each_interval(write, admin):
    before = int(admin.time()[0])
    writer = write(interval=1.0)

    wait_until(lambda: len(pages(admin)) == 1)
    ((publisher, (head, _)),) = pages(admin).items()
    wait_until(lambda: pages(admin)[publisher][1] == "3 True")

    assert head._replace(at=None) == HEAD
    assert head.at == pytest.approx(before, abs=60)
    assert publisher.decode().startswith(f"{os.uname().nodename}:{os.getpid()}:")
    assert 595 < admin.ttl(INDEX) <= 600
    assert 595 < admin.ttl(f"{INDEX}.{publisher.decode()}") <= 600
    assert before <= admin.zscore(INDEX, publisher) <= int(admin.time()[0])
    assert str(writer) == f"each 1 s in {INDEX} of {writer._server}"


def test_the_last_page_has_no_gauges_and_none_follows_it(write, admin):
    writer = write(interval=1.0)
    writer.end()

    assert writer.renew().wait(10)
    ((_, (head, text)),) = pages(admin).items()
    made = writer._make.made
    # A page that is asked for is written, at its end too.
    assert writer.renew().wait(10)

    assert (head.ended, text) == (True, f"{made} False")
    assert writer._make.made == made + 1
    assert writer._wait(0) is True


def test_entries_of_publishers_that_are_gone_are_removed(write, admin):
    now = int(admin.time()[0])
    admin.zadd(INDEX, {"gone": now - 700, "lives": now - 500})

    assert write().renew().wait(10)

    names = [name for name, _ in admin.zrange(INDEX, 0, -1, withscores=True)]
    assert b"gone" not in names
    assert b"lives" in names


def test_two_of_one_process_have_a_page_each(write, admin):
    writers = [write(), write()]
    for writer in writers:
        assert writer.renew().wait(10)

    assert len(pages(admin)) == 2


def test_a_page_goes_into_the_database_of_the_queue(write, server):
    assert write(url=f"redis://127.0.0.1:{server.port}/3").renew().wait(10)

    with redis.Redis.from_url(f"redis://127.0.0.1:{server.port}/3") as client:
        assert len(pages(client)) == 1


def test_the_documented_permissions_are_enough(write, admin, server, losses):
    user(admin)

    assert write(as_user(server)).renew().wait(10)

    assert len(pages(admin)) == 1
    assert losses.counts() == {}
    denied = {entry["object"] for entry in admin.acl_log()}
    # redis-py's own, which it can do without.
    assert denied <= {"client|setinfo", "client|setname", "client", "hello"}


def test_without_time_nothing_is_pruned(write, admin, server, losses):
    user(admin, "-time", "-zremrangebyscore")
    admin.zadd(INDEX, {"old": 1})

    assert write(as_user(server)).renew().wait(10)

    assert b"old" in admin.zrange(INDEX, 0, -1)
    assert losses.counts() == {}


@pytest.mark.parametrize(
    "refuse",
    [
        pytest.param(lambda admin: user(admin, "-set"), id="no permission"),
        pytest.param(lambda admin: admin.set(INDEX, "theirs"), id="another's key"),
        pytest.param(lambda admin: admin.config_set("maxmemory", 1), id="no memory"),
    ],
)
def test_refusals_are_counted_and_logged_once(
    refuse, write, admin, server, losses, caplog
):
    user(admin)
    refuse(admin)

    writer = write(as_user(server))
    refused = [writer.renew().wait(10) for _ in range(3)]
    counted = dict(losses.by_queue())
    admin.config_set("maxmemory", 0)
    admin.delete(INDEX)
    user(admin, "+set")
    assert writer.renew().wait(10)

    assert refused == [False] * 3
    assert counted.keys() == {("shop", "page_refused")}
    assert counted["shop", "page_refused"] >= 3
    said = messages(caplog)
    assert len(said) == 2
    assert "refuses the metrics page: " in said[0]
    assert "secret" not in said[0]
    assert said[1] == f"metrics pages go to {writer._server} again"


def test_a_redis_that_is_away_loses_nothing(write, admin, server, losses, caplog):
    writer = write()
    assert writer.renew().wait(10)
    server.kill()

    assert writer.renew().wait(10) is False
    server.start()
    assert writer.renew().wait(10)

    assert len(pages(admin)) == 1
    assert losses.counts() == {}
    said = messages(caplog)
    assert len(said) == 2
    assert said[0].endswith("(nothing is lost so far)")


def test_the_last_page_waits_for_a_redis_that_comes_back(write, admin, server, losses):
    writer = write()
    assert writer.renew().wait(10)
    server.kill()
    writer.end()
    last = writer.renew()

    assert last.wait(0.5) is False
    server.start()

    wait_until(lambda: last.wait(0))
    assert [head.ended for head, _ in pages(admin).values()] == [True]
    assert losses.counts() == {}


def test_a_last_page_that_is_not_written_is_counted(write, server, losses):
    writer = write()
    server.kill()
    writer.end()

    assert writer.renew().wait(0.3) is False
    writer.close()

    assert losses.counts() == {"page_shutdown": 1}


def test_a_redis_that_hangs_holds_up_no_caller(write, server, losses):
    writer = write()
    assert writer.renew().wait(10)
    server.pause()
    writer.end()

    written = writer.renew().wait(0.2)
    writer.close()
    # It still waits for an answer.
    waits = writer._thread.is_alive()
    server.resume()

    assert (written, waits) == (False, True)
    assert losses.counts() == {"page_shutdown": 1}


def test_an_idle_connection_that_was_closed_is_made_again(write, admin, losses, caplog):
    writer = write()
    assert writer.renew().wait(10)

    admin.client_kill_filter(_type="normal", skipme=True)

    assert writer.renew().wait(10)
    assert (losses.counts(), messages(caplog)) == ({}, [])


def test_a_child_of_a_fork_writes_no_page(write, admin):
    writer = write()
    assert writer.renew().wait(10)

    def tell():
        return [writer.renew().wait(10), writer._connection is None]

    assert said_in_child(tell) == [False, True]
    assert writer.renew().wait(10)
    assert len(pages(admin)) == 1


def test_without_a_thread_no_caller_waits(server, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    writer = PageWriter(RedisEventEmitter(url=server.url), "q", HEAD, Text())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            writer.begin()

    assert writer.renew().wait(10) is False


def test_an_error_while_the_page_is_made_costs_that_page(write, admin, losses):
    made = []

    def make(*, gauges):
        made.append(gauges)
        if len(made) == 1:
            raise ValueError("once")
        return "text"

    writer = write(make=make)
    wait_until(lambda: losses.counts() == {"internal": 1})

    assert writer.renew().wait(10)
    assert [text for _, text in pages(admin).values()] == ["text"]
