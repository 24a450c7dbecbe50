"""What a listener has missed is what the publisher counts as lost."""

import json
import threading

import pytest
import redis
from huey import RedisHuey

from huey_otel import EventListener, RedisEventEmitter, instrument
from huey_otel._redis import publisher as _publisher
from huey_otel._redis.publisher import Publisher
from huey_otel._wire.record import Source
from tests.support.forks import fork
from tests.support.forwarder import Forwarder
from tests.support.programs import free_port
from tests.support.redis_server import serving
from tests.support.relays import record
from tests.support.waiting import wait_until

pytestmark = pytest.mark.live

SOURCE = Source(queue="my-app", host="host", worker_type="thread")

server = pytest.fixture(serving)


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def listen(server):
    """Starts a listener, which keeps its events on a thread, as `(publisher, seq)`.

    It reads while it is `awake`.
    """
    started = []

    def start():
        listener = EventListener(server.url, "q")
        listener.heard = []
        listener.awake = threading.Event()
        listener.awake.set()

        def run():
            for event in listener:
                listener.heard.append((event["publisher"], event["seq"]))
                listener.awake.wait()

        started.append((listener, threading.Thread(target=run, daemon=True)))
        started[-1][1].start()
        return listener

    yield start
    for listener, thread in started:
        listener.awake.set()
        listener.close()
        thread.join(10)


@pytest.fixture
def publish():
    """Makes a publisher that publishes on a Redis as many events as it is told."""
    made = []

    def make(url):
        publisher = Publisher(RedisEventEmitter(url=url), "q", "shop")
        made.append(publisher)

        def publish(number):
            for key in range(1, number + 1):
                publisher(record("started", key), SOURCE)

        publish.publisher = publisher
        return publish

    yield make
    for publisher in made:
        publisher.close(0.1)
        if publisher._thread is not None:
            publisher._thread.join(10)


def name(publish):
    return publish.publisher._numbering.publisher


def counts(listener):
    return listener.missed, listener.repeated


def test_each_event_has_the_name_of_its_publisher_and_its_number(
    server, listen, publish
):
    listener = listen()
    one, another = publish(server.url), publish(server.url)

    one(3)
    wait_until(lambda: len(listener.heard) == 3)
    another(2)
    wait_until(lambda: len(listener.heard) == 5)
    one(1)
    wait_until(lambda: len(listener.heard) == 6)

    assert name(one) != name(another)
    assert listener.heard == [
        *((name(one), seq) for seq in (1, 2, 3)),
        *((name(another), seq) for seq in (1, 2)),
        (name(one), 4),
    ]
    assert counts(listener) == (0, 0)


def test_what_an_outbox_without_room_drops_is_missed(
    server, listen, publish, losses, monkeypatch
):
    monkeypatch.setattr(_publisher, "_LARGEST_OUTBOX", 20_000)
    send = publish(server.url)
    listener = listen()
    send(1)
    wait_until(lambda: len(listener.heard) == 1)

    server.pause()
    send(500)
    server.resume()
    assert send.publisher.flush(30.0)
    send(1)
    wait_until(lambda: listener.heard[-1][1] == 502)

    dropped = losses.counts()["feed_full"]
    assert counts(listener) == (dropped, 0)
    assert 0 < dropped == 502 - len(listener.heard)


def test_what_a_redis_takes_along_when_it_dies_is_missed(
    server, admin, listen, publish, losses
):
    listener = listen()
    with Forwarder(server.port) as way:
        send = publish(way.url)
        send(1)
        wait_until(lambda: len(listener.heard) == 1)
        # A server that hangs has got events, and passes none on before it dies.
        server.pause()
        send(200)
        wait_until(lambda: send.publisher._outbox._unanswered > 0)
        way.target = free_port()
        server.kill()
        wait_until(lambda: losses.counts().get("feed_unconfirmed", 0) > 0)
        server.start()
        wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])
        way.target = server.port
        assert send.publisher.flush(30.0)
        wait_until(lambda: listener.heard[-1][1] == 201)

    dropped = losses.counts()["feed_unconfirmed"]
    assert counts(listener) == (dropped, 0)
    assert 0 < dropped == 201 - len(listener.heard) < 200


def test_what_a_redis_refuses_is_missed(
    server, admin, listen, publish, losses, monkeypatch
):
    monkeypatch.setattr(_publisher, "_REFUSED_PAUSE", 0.05)
    admin.execute_command(
        *("ACL", "SETUSER", "feed", "on", ">feed", "~*", "&*", "+@all"),
    )
    send = publish(f"redis://feed:feed@127.0.0.1:{server.port}")
    listener = listen()
    send(2)
    wait_until(lambda: len(listener.heard) == 2)

    admin.execute_command("ACL", "SETUSER", "feed", "-publish")
    send(7)
    wait_until(lambda: losses.counts().get("feed_refused") == 7)
    admin.execute_command("ACL", "SETUSER", "feed", "+publish")
    send(1)
    wait_until(lambda: len(listener.heard) == 3)

    assert listener.heard[-1] == (name(send), 10)
    assert counts(listener) == (7, 0)


def test_a_listener_that_joins_late_has_missed_nothing_until_then(
    server, listen, publish
):
    send = publish(server.url)
    send(50)
    assert send.publisher.flush(10.0)

    late = listen()
    send(2)
    wait_until(lambda: len(late.heard) == 2)

    assert late.heard == [(name(send), 51), (name(send), 52)]
    assert counts(late) == (0, 0)


def test_what_comes_while_a_listener_is_away_is_missed(server, admin, listen, publish):
    send = publish(server.url)
    listener = listen()
    send(1)
    wait_until(lambda: len(listener.heard) == 1)
    # A user of Redis' own, so that the listener alone can be kept away.
    admin.execute_command("ACL", "SETUSER", "feed", "on", ">feed", "&*", "+@all")
    other = publish(f"redis://feed:feed@127.0.0.1:{server.port}")
    other(1)
    wait_until(lambda: len(listener.heard) == 2)

    admin.execute_command("ACL", "SETUSER", "default", "resetchannels")
    wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 0)])
    other(30)
    assert other.publisher.flush(10.0)
    admin.execute_command("ACL", "SETUSER", "default", "allchannels")
    wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])
    other(1)
    wait_until(lambda: listener.heard[-1] == (name(other), 32))

    assert counts(listener) == (30, 0)


def test_what_a_listener_does_not_read_before_redis_cuts_it_off_is_missed(
    server, admin, listen, publish
):
    admin.config_set("client-output-buffer-limit", "pubsub 32768 32768 0")
    send = publish(server.url)
    listener = listen()
    listener.awake.clear()
    sent = 0

    def is_cut_off():
        nonlocal sent
        send(1_000)
        sent += 1_000
        assert send.publisher.flush(10.0)
        return admin.pubsub_numsub("q") == [(b"q", 0)]

    wait_until(is_cut_off)
    listener.awake.set()
    wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])
    send(1)
    wait_until(lambda: listener.heard[-1] == (name(send), sent + 1))

    assert counts(listener) == (sent + 1 - len(listener.heard), 0)
    assert listener.missed > 0


def test_a_forked_child_publishes_under_a_name_of_its_own(server, listen, publish):
    send = publish(server.url)
    listener = listen()
    send(2)
    wait_until(lambda: len(listener.heard) == 2)

    def child():
        send(3)
        assert send.publisher.flush(10.0)

    assert fork(child).join() == 0
    send(2)
    wait_until(lambda: len(listener.heard) == 7)

    mine = name(send)
    (theirs,) = {publisher for publisher, _ in listener.heard} - {mine}
    assert [seq for publisher, seq in listener.heard if publisher == mine] == [
        *(1, 2, 3, 4)
    ]
    assert [seq for publisher, seq in listener.heard if publisher == theirs] == [
        *(1, 2, 3)
    ]
    assert theirs.split(":")[1] != mine.split(":")[1]
    assert counts(listener) == (0, 0)


def numbers(listener):
    """The numbers of the events of each publisher that was heard, in their order."""
    found = {}
    for publisher, seq in listener.heard:
        found.setdefault(publisher, []).append(seq)
    return list(found.values())


def test_hueys_that_share_an_emitter_are_two_publishers(server, listen):
    emitter = RedisEventEmitter(url=server.url, channel="q")
    hueys = [RedisHuey(name, url=server.url) for name in ("shop", "mail")]
    for huey in hueys:
        instrument(huey, events=emitter, publish_enqueued=True)
    tasks = [huey.task()(abs) for huey in hueys]
    listener = listen()

    for task in (*tasks, *tasks):
        task(1)

    wait_until(lambda: len(listener.heard) == 4)
    assert numbers(listener) == [[1, 2], [1, 2]]
    assert counts(listener) == (0, 0)


def test_a_storage_that_is_exchanged_and_comes_back_keeps_its_publisher(server, listen):
    huey = RedisHuey("q", url=server.url)
    add = huey.task()(abs)
    instrument(huey, publish_enqueued=True)
    listener = listen()

    add(1)
    huey.immediate = True
    add(2)
    huey.immediate = False
    add(3)

    wait_until(lambda: len(listener.heard) == 2)
    assert numbers(listener) == [[1, 2]]
    assert counts(listener) == (0, 0)


def test_what_others_publish_twice_is_yielded_once(server, admin, listen):
    listener = listen()
    for seq in (1, 4, 2, 2, 4, 5):
        event = {"status": "finished", "publisher": "theirs", "seq": seq}
        admin.publish("q", json.dumps(event))

    wait_until(lambda: listener.heard[-1:] == [("theirs", 5)])

    assert [seq for _, seq in listener.heard] == [1, 4, 2, 5]
    assert counts(listener) == (1, 2)
