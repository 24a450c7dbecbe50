"""A listener on the stream: where it begins, what it counts, and how it comes back."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
import redis

from huey_otel import EventListener
from huey_otel._redis.stream_reader import StreamReader
from huey_otel._storage import failover
from tests.support.forwarder import Forwarder
from tests.support.programs import missing
from tests.support.redis_server import RedisServer, server_binary, serving
from tests.support.waiting import wait_until

KEY = "huey.events.q"

pytestmark = pytest.mark.live

server = pytest.fixture(serving)


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def listen(server):
    """Iterates listeners on threads; `heard` has the numbers of their events."""
    listeners, threads = [], []

    def listen(since=None, *, where=None, stream=True, **options):
        listener = EventListener(
            where or server.url, "q", stream=stream, since=since, **options
        )
        listener.heard = []

        def hear():
            for event in listener:
                listener.heard.append(event["seq"])

        listeners.append(listener)
        threads.append(threading.Thread(target=hear, daemon=True))
        threads[-1].start()
        return listener

    yield listen
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(10)


def add(client, *numbers, publisher="web-1:7:1", key=KEY, entry="*", **options):
    """Add events to the stream; the id of the last one."""
    entry_id = b""
    for seq in numbers:
        event = {"status": "finished", "publisher": publisher, "seq": seq}
        entry_id = client.xadd(key, {"body": json.dumps(event)}, id=entry, **options)
    return entry_id.decode()


def read(listener, number):
    """The numbers of the next so many events."""
    events = iter(listener)
    return [next(events)["seq"] for _ in range(number)]


def warnings(caplog):
    return [entry.getMessage() for entry in caplog.records]


def numbers(first, last):
    return list(range(first, last + 1))


def test_it_begins_with_what_comes_from_now_on(server, admin, listen):
    last = add(admin, *numbers(1, 5))
    listener = listen()
    assert listener.position == f"{last}/5"

    last = add(admin, *numbers(6, 9))

    wait_until(lambda: listener.heard == numbers(6, 9))
    assert listener.position == f"{last}/9"
    assert (listener.trimmed, listener.missed, listener.repeated) == (0, 0, 0)


def test_it_may_be_made_before_there_is_a_stream(admin, listen):
    listener = listen()
    assert listener.position == "0-0/0"

    add(admin, *numbers(1, 300))

    wait_until(lambda: listener.heard == numbers(1, 300))
    assert listener.trimmed == 0


def test_from_the_beginning_it_reads_all_that_is_there(admin, listen):
    add(admin, *numbers(1, 1_000))

    listener = listen("beginning")

    wait_until(lambda: listener.heard == numbers(1, 1_000))
    assert listener.position.endswith("/1000")
    assert listener.trimmed == 0


def test_a_stream_may_have_any_key(admin, listen):
    add(admin, 1, key="app:events")

    listener = listen("beginning", stream="app:events")

    wait_until(lambda: listener.heard == [1])


def test_it_reads_the_database_of_its_url(server, listen):
    with redis.Redis(port=server.port, db=3) as other:
        add(other, 1, 2)

    listener = listen("beginning", where=f"redis://127.0.0.1:{server.port}/3")

    wait_until(lambda: listener.heard == [1, 2])


@pytest.mark.parametrize(
    "options", ["", "?decode_responses=True", "?protocol=3", "?socket_timeout=0.1"]
)
def test_a_client_with_any_options_is_read(server, admin, options):
    add(admin, 1, 2)

    with EventListener(
        server.url + options, "q", stream=True, since="beginning"
    ) as listener:
        assert read(listener, 2) == [1, 2]


def test_a_time_ago_is_by_the_clock_of_redis(admin, listen, monkeypatch):
    now = admin.time()[0]
    for seconds, seq in ((7_200, 1), (3_000, 2), (60, 3)):
        add(admin, seq, entry=f"{(now - seconds) * 1_000}-0")
    # This machine's clock is an hour off.
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3_600)

    hour, minutes, seconds = (listen(since) for since in ("1h", "10m", "5s"))
    add(admin, 4)

    wait_until(lambda: hour.heard == [2, 3, 4])
    wait_until(lambda: minutes.heard == [3, 4])
    wait_until(lambda: seconds.heard == [4])
    assert [one.trimmed for one in (hour, minutes, seconds)] == [0, 0, 0]
    # Each has reached the end, so each knows how many there are.
    assert {one.position.partition("/")[2] for one in (hour, minutes, seconds)} == {"4"}


def test_behind_an_id_it_reads_what_follows(admin, listen):
    add(admin, 1)
    middle = add(admin, 2)
    add(admin, 3)

    listener = listen(middle)

    wait_until(lambda: listener.heard == [3])
    assert listener.trimmed == 0
    assert listener.position.endswith("/3")


def test_an_id_in_the_future_is_refused(server, admin):
    add(admin, 1)
    ahead = f"{(admin.time()[0] + 3_600) * 1_000}-0"

    with pytest.raises(ValueError, match="in the future") as refusal:
        EventListener(server.url, "q", stream=True, since=ahead)

    assert str(refusal.value).startswith(f"since={ahead!r}: this is 3,")
    assert "expected a listener's `position`, the id of an entry" in str(refusal.value)


def test_an_id_in_the_future_is_refused_once_redis_answers(server):
    server.pause()
    listener = EventListener(server.url, "q", stream=True, since=f"{(2**50)}-0")
    server.resume()

    with pytest.raises(ValueError, match="in the future"):
        next(iter(listener))


def test_an_id_behind_the_last_entry_waits_for_what_comes(admin, listen):
    add(admin, 1)
    seconds, microseconds = admin.time()

    listener = listen(f"{seconds * 1_000 + microseconds // 1_000}-0")
    add(admin, 2)

    wait_until(lambda: listener.heard == [2])
    assert listener.trimmed == 0


def test_an_id_of_a_stream_whose_clock_was_ahead_is_no_future(admin, listen):
    ahead = (admin.time()[0] + 3_600) * 1_000
    add(admin, 1, entry=f"{ahead}-0")
    add(admin, 2, entry=f"{ahead}-1")

    listener = listen(f"{ahead}-0")

    wait_until(lambda: listener.heard == [2])


def test_a_position_resumes_where_it_was_left(server, admin):
    add(admin, *numbers(1, 500))
    with EventListener(server.url, "q", stream=True, since="beginning") as listener:
        assert read(listener, 250) == numbers(1, 250)
        # What it has fetched beyond the last event is read again.
        assert read(listener, 50) == numbers(251, 300)
        position = listener.position

    with EventListener(server.url, "q", stream=True, since=position) as listener:
        assert read(listener, 200) == numbers(301, 500)
        assert listener.position.endswith("/500")
        assert (listener.trimmed, listener.missed, listener.repeated) == (0, 0, 0)


def trim(admin, length):
    admin.xtrim(KEY, maxlen=length, approximate=False)


def test_what_was_trimmed_behind_a_position_is_counted(server, admin):
    add(admin, *numbers(1, 100))
    with EventListener(server.url, "q", stream=True, since="beginning") as listener:
        read(listener, 60)
        position = listener.position
    add(admin, *numbers(101, 5_000))
    trim(admin, 1_000)

    with EventListener(server.url, "q", stream=True, since=position) as listener:
        assert read(listener, 1_000) == numbers(4_001, 5_000)
        assert listener.trimmed == 3_940
        assert listener.position.endswith("/5000")

        add(admin, *numbers(5_001, 5_100))
        trim(admin, 10)
        assert read(listener, 10) == numbers(5_091, 5_100)
        assert listener.trimmed == 3_940 + 90
        # The publisher has been heard meanwhile.
        assert listener.missed == 90


def test_what_was_trimmed_and_read_before_counts_as_nothing(server, admin):
    add(admin, *numbers(1, 100))
    with EventListener(server.url, "q", stream=True, since="beginning") as listener:
        read(listener, 60)
        position = listener.position
    trim(admin, 50)

    with EventListener(server.url, "q", stream=True, since=position) as listener:
        assert read(listener, 40) == numbers(61, 100)
        assert listener.trimmed == 0


def test_an_iteration_that_is_left_counts_what_was_trimmed_once(server, admin):
    add(admin, *numbers(1, 10))
    with EventListener(server.url, "q", stream=True, since="beginning") as listener:
        read(listener, 5)
        trim(admin, 2)

        reader = listener._reader
        # Fetched, and nothing of it passed.
        reader.read()
        reader.read()

        assert listener.trimmed == 3
        assert read(listener, 2) == [9, 10]
        assert listener.trimmed == 3


def test_a_stream_that_was_emptied_is_counted(server, admin):
    add(admin, 1)
    with EventListener(server.url, "q", stream=True) as listener:
        add(admin, *numbers(2, 50))
        trim(admin, 0)
        assert list(listener._reader.read()) == []

        assert listener.trimmed == 49
        add(admin, 51)
        assert read(listener, 1) == [51]
        assert (listener.trimmed, listener.position[-3:]) == (49, "/51")


def _hold(reader):
    """Lets reads wait until they are released."""
    go, read = threading.Event(), reader.read

    def held():
        go.wait(30)
        return read()

    held.release = go.set
    return held


def test_a_slow_listener_counts_all_that_is_trimmed_meanwhile(server, admin):
    published = 20_000
    with EventListener(server.url, "q", stream=True, since="beginning") as listener:

        def work():
            with redis.Redis.from_url(server.url) as client:
                for seq in numbers(1, published):
                    add(client, seq, maxlen=1_000)

        worker = threading.Thread(target=work)
        worker.start()
        heard = []

        def is_behind():
            added = admin.xinfo_stream(KEY)["entries-added"]
            return added - heard[-1] > 1_500 or not worker.is_alive()

        for event in listener:
            heard.append(event["seq"])
            if heard[-1] == published:
                break
            if len(heard) % 100 == 0:
                wait_until(is_behind)

        worker.join()
        assert heard == sorted(set(heard))
        assert len(heard) + listener.trimmed == published
        assert listener.trimmed > 1_000
        assert listener.missed == listener.trimmed - (heard[0] - 1)


def test_an_id_that_has_fallen_out_is_said_once(server, admin, listen, caplog):
    middle = add(admin, *numbers(1, 10))
    add(admin, *numbers(11, 100))
    trim(admin, 20)

    listener = listen(middle)

    wait_until(lambda: listener.heard == numbers(81, 100))
    assert listener.trimmed is None
    # From here on it counts, so that what is resumed from its position is exact.
    assert listener.position.endswith("/100")
    assert warnings(caplog) == [
        f"how many entries of the stream '{KEY}' at redis://127.0.0.1:{server.port}"
        f" were trimmed is not known: {middle} has fallen out of it"
    ]


def test_what_is_no_event_is_skipped_and_counted(admin, listen):
    listener = listen()
    for fields in (
        {"other": "{}"},
        {"body": b"\xff\xfe"},
        {"body": "not json"},
        {"body": '{"status": "cut'},
        {"body": "[" * 100_000},
        {"body": "[]"},
        {"body": '{"status": 1}'},
    ):
        admin.xadd(KEY, fields)
    add(admin, 8)

    wait_until(lambda: listener.heard == [8])
    assert listener.skipped == 7
    assert listener.position.endswith("/8")


def test_what_comes_twice_is_yielded_once(admin, listen):
    listener = listen()

    add(admin, 1, 4, 2, 2, 4, 5)

    wait_until(lambda: listener.heard == [1, 4, 2, 5])
    assert (listener.missed, listener.repeated) == (1, 2)


def test_it_waits_longer_than_any_timeout(server, admin, listen, caplog):
    reads = []
    listener = listen()
    listener._reader.read = _counted(listener._reader, reads)
    # Each waits a second, and a connection of ours gives up after two.
    wait_until(lambda: len(reads) > 3)

    add(admin, 1)

    wait_until(lambda: listener.heard == [1])
    assert warnings(caplog) == []
    assert listener.away is None


def _counted(reader, reads):
    read = reader.read

    def counted():
        reads.append(1)
        return read()

    return counted


def test_nothing_is_lost_while_its_connection_is_cut(server, admin, listen):
    listener = listen()
    for first in range(1, 1_001, 100):
        add(admin, *numbers(first, first + 99))
        admin.client_kill_filter(_type="normal", skipme=True)

    wait_until(lambda: listener.heard == numbers(1, 1_000))
    assert (listener.trimmed, listener.missed, listener.repeated) == (0, 0, 0)


def test_what_was_added_before_redis_hung_is_read_afterwards(server, admin, listen):
    listener = listen()
    add(admin, 1)
    wait_until(lambda: listener.heard == [1])

    server.pause()
    wait_until(lambda: listener.away is not None)
    server.resume()
    add(admin, 2)

    wait_until(lambda: listener.heard == [1, 2])
    wait_until(lambda: listener.away is None)


@pytest.mark.parametrize(
    "entries",
    [["*"] * 20, [f"1-{number}" for number in range(1, 21)]],
    ids=["its clock goes on", "its clock goes back"],
)
@pytest.mark.parametrize("before", [0, 5, 50])
def test_a_redis_that_restarts_empty_is_read_from_its_beginning(
    server, listen, before, entries
):
    with redis.Redis.from_url(server.url) as admin:
        add(admin, 1)
        listener = listen()
        add(admin, *numbers(2, 1 + before))
        wait_until(lambda: listener.heard == numbers(2, 1 + before))
    server.kill()
    server.start()

    with redis.Redis.from_url(server.url) as admin:
        for seq, entry in enumerate(entries, 1):
            add(admin, seq, publisher="web-1:8:2", entry=entry)
        wait_until(lambda: len(listener.heard) == before + 20)

    assert listener.heard == [*numbers(2, 1 + before), *numbers(1, 20)]
    assert (listener.trimmed, listener.missed, listener.repeated) == (0, 0, 0)
    wait_until(lambda: listener.position.endswith("/20"))


def test_what_an_empty_redis_has_trimmed_before_it_is_read_is_counted(server, listen):
    with redis.Redis.from_url(server.url) as admin:
        add(admin, *numbers(1, 100))
        listener = listen("beginning")
        wait_until(lambda: len(listener.heard) == 100)
    server.kill()
    wait_until(lambda: listener.away is not None)
    hold = _hold(listener._reader)
    listener._reader.read = hold
    server.start()
    with redis.Redis.from_url(server.url) as admin:
        add(admin, *numbers(101, 150))
        trim(admin, 20)
        hold.release()
        wait_until(lambda: len(listener.heard) == 120)

    assert listener.heard[100:] == numbers(131, 150)
    assert (listener.trimmed, listener.missed) == (30, 30)


def test_a_position_that_redis_has_lost_is_read_from_the_beginning(
    server, listen, caplog
):
    with redis.Redis.from_url(server.url) as admin:
        add(admin, *numbers(1, 50))
        with EventListener(server.url, "q", stream=True, since="beginning") as one:
            read(one, 50)
            position = one.position
    server.kill()
    server.start()

    listener = listen(position)

    with redis.Redis.from_url(server.url) as admin:
        add(admin, *numbers(51, 60))
        wait_until(lambda: listener.heard == numbers(51, 60))
    assert listener.trimmed == 0
    assert listener.position.endswith("/10")


def test_a_key_that_is_deleted_and_made_again_is_read_from_its_beginning(
    admin, listen, caplog
):
    add(admin, *numbers(1, 5))
    listener = listen("beginning")
    wait_until(lambda: listener.heard == numbers(1, 5))

    admin.delete(KEY)
    wait_until(lambda: listener.position == "0-0/0")
    add(admin, *numbers(6, 8))

    wait_until(lambda: listener.heard == numbers(1, 8))
    where = f"the stream '{KEY}' at redis://127.0.0.1"
    assert [line.startswith(where) for line in warnings(caplog)] == [True]
    assert warnings(caplog)[0].endswith("is gone, it is read from its beginning")


def test_a_redis_that_comes_with_another_type_is_away_and_says_why(
    admin, listen, caplog
):
    admin.rpush(KEY, "theirs")
    listener = listen()

    wait_until(lambda: listener.away is not None)
    assert listener.away.startswith("WRONGTYPE")
    admin.delete(KEY)
    add(admin, 1)

    # It begins when Redis first lets it.
    wait_until(lambda: listener.away is None)
    add(admin, 2)
    wait_until(lambda: listener.heard[-1:] == [2])
    away, again = warnings(caplog)
    assert "no events can be heard on 'q'" in away
    assert "events are heard again" in again


def test_a_user_that_may_not_read_it_is_told_why(server, admin, listen):
    admin.execute_command("ACL", "SETUSER", "deaf", "on", ">deaf", "+@all", "~other")

    listener = listen(where=f"redis://deaf:deaf@127.0.0.1:{server.port}")

    wait_until(lambda: listener.away is not None)
    assert "no permissions" in listener.away.lower() or "NOPERM" in listener.away


def test_without_xinfo_it_reads_and_does_not_count(server, admin, listen, caplog):
    admin.execute_command(
        *("ACL", "SETUSER", "feed", "on", ">feed", f"~{KEY}", "+xread", "+xrevrange")
    )
    add(admin, 1, 2)
    where = f"redis://feed:feed@127.0.0.1:{server.port}"

    listener, from_now = listen("beginning", where=where), listen(where=where)
    last = add(admin, 3)

    wait_until(lambda: listener.heard == [1, 2, 3])
    wait_until(lambda: from_now.heard == [3])
    assert (listener.trimmed, listener.position) == (None, last)
    assert (from_now.trimmed, from_now.position) == (None, last)
    (line, _) = [one for one in warnings(caplog) if "Redis refuses XINFO" in one]
    assert line.startswith(f"how many entries of the stream '{KEY}' at redis://")


@pytest.mark.parametrize(
    "allowed", [["+xread"], ["+xread", "+xinfo|stream"]], ids=["XREAD", "XINFO as well"]
)
def test_what_the_document_calls_needed_is_enough(server, listen, allowed):
    def feed(client):
        client.execute_command(
            "ACL", "SETUSER", "feed", "on", ">f", f"~{KEY}", *allowed
        )

    with redis.Redis.from_url(server.url) as admin:
        feed(admin)
        first = add(admin, 1)
        add(admin, 2, 3)
        where = f"redis://feed:f@127.0.0.1:{server.port}"
        listener = listen("beginning", where=where)
        resumed = listen(f"{first}/1", where=where)
        wait_until(lambda: (listener.heard, resumed.heard) == ([1, 2, 3], [2, 3]))
    server.kill()
    server.start()
    with redis.Redis.from_url(server.url) as admin:
        feed(admin)
        add(admin, 4, 5)
        wait_until(lambda: listener.heard == [1, 2, 3, 4, 5])
        wait_until(lambda: resumed.heard == [2, 3, 4, 5])


@pytest.fixture
def before_redis_7(monkeypatch):
    """As of a Redis that does not say how many entries were ever added."""
    state_of = StreamReader._state_of

    def older(reader, info):
        if not isinstance(info, Exception):
            at = info.index(b"entries-added")
            del info[at : at + 2]
        return state_of(reader, info)

    monkeypatch.setattr(StreamReader, "_state_of", older)


def test_before_redis_7_it_reads_and_does_not_count(
    before_redis_7, server, listen, caplog
):
    with redis.Redis.from_url(server.url) as admin:
        add(admin, *numbers(1, 50))
        listener = listen("beginning")
        last = add(admin, 51)
        wait_until(lambda: listener.heard == numbers(1, 51))
        assert (listener.trimmed, listener.position) == (None, last)

        resumed = listen(f"{last}/51")
        add(admin, 52)
        wait_until(lambda: resumed.heard == [52])
        assert resumed.trimmed is None
    server.kill()
    server.start()
    with redis.Redis.from_url(server.url) as admin:
        add(admin, 53, entry="1-1")
        wait_until(lambda: listener.heard[-1] == resumed.heard[-1] == 53)
    assert not any("is not known" in line for line in warnings(caplog))


@contextmanager
def pair():
    """Two servers, the second a replica of the first, and a name for either."""
    if server_binary() is None:
        missing("a Redis server")
    with (
        RedisServer() as one,
        RedisServer() as two,
        Forwarder(one.port) as name,
        redis.Redis.from_url(one.url) as master,
        redis.Redis.from_url(two.url) as replica,
    ):
        replica.replicaof("127.0.0.1", one.port)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        yield one, two, name, master, replica


@pytest.fixture
def frequent_checks(monkeypatch):
    monkeypatch.setattr(failover, "_INTERVAL", 0.5)
    monkeypatch.setattr(failover, "_LIFETIME", 0.5)


def test_a_planned_failover_loses_nothing(frequent_checks, listen):
    with pair() as (_, two, name, master, replica):
        listener = listen(where=name.url)
        add(master, *numbers(1, 100))
        wait_until(lambda: listener.heard == numbers(1, 100))
        wait_until(lambda: replica.xlen(KEY) == 100)

        name.target = two.port
        replica.execute_command("REPLICAOF", "NO", "ONE")
        master.replicaof("127.0.0.1", two.port)
        add(replica, *numbers(101, 200))

        wait_until(lambda: listener.heard == numbers(1, 200))
        assert (listener.trimmed, listener.missed, listener.repeated) == (0, 0, 0)
        listener.close()


@pytest.mark.parametrize("begins", [None, "beginning"])
def test_a_master_that_lacks_the_last_events_is_read_on(
    frequent_checks, listen, begins
):
    """What the old master alone had is not repeated, nor is what came before."""
    with pair() as (one, two, name, master, replica):
        add(master, *numbers(1, 50))
        listener = listen(begins, where=name.url)
        earlier = numbers(1, 50) if begins else []
        add(master, *numbers(51, 60))
        wait_until(lambda: listener.heard == [*earlier, *numbers(51, 60)])
        wait_until(lambda: replica.xlen(KEY) == 60)
        # From here on the replica gets nothing.
        replica.execute_command("REPLICAOF", "NO", "ONE")
        add(master, *numbers(61, 70))
        wait_until(lambda: listener.heard == [*earlier, *numbers(51, 70)])

        name.target = two.port
        one.kill()
        wait_until(lambda: listener.position.endswith("/60"))
        add(replica, *numbers(71, 90))

        wait_until(lambda: listener.heard == [*earlier, *numbers(51, 90)])
        assert (listener.trimmed, listener.missed, listener.repeated) == (0, 0, 0)
        listener.close()


@pytest.mark.parametrize("redis_is", ["there", "away", "hanging"])
def test_close_from_another_thread_ends_the_iteration(server, redis_is):
    listener = EventListener(server.url, "q", stream=True)
    thread = threading.Thread(target=lambda: list(listener))
    thread.start()
    if redis_is == "away":
        server.stop()
    if redis_is == "hanging":
        server.pause()

    listener.close()
    thread.join(10)

    assert not thread.is_alive()


def test_without_a_stream_it_has_no_position(server):
    with EventListener(server.url, "q") as listener:
        assert (listener.position, listener.trimmed) == (None, None)
