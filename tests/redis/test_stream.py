"""The stream beside what is published, whatever Redis refuses."""

import json
import os

import pytest
import redis

from huey_otel import RedisEventEmitter
from huey_otel._options.values import Stream
from huey_otel._redis.publisher import Publisher
from huey_otel._redis.stream import body_of
from huey_otel._wire.record import Record, Source, TaskFacts
from tests.support.forwarder import Forwarder
from tests.support.programs import free_port, missing
from tests.support.redis_server import RedisServer, server_binary
from tests.support.waiting import wait_until

FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))
SOURCE = Source(queue="my-app", host="host", worker_type="thread")
KEY = "huey.events.q"
WEEK = 7 * 86_400

pytestmark = pytest.mark.live


def record(key, status="started", **extra):
    return Record(1, status, 1.5, os.getpid(), key, None, FACTS, 2, extra)


def started_server(*options):
    if server_binary() is None:
        missing("a Redis server")
    return RedisServer(*options)


@pytest.fixture
def server():
    with started_server() as running:
        yield running


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def publish():
    """Makes a function that publishes so many events, and waits for the answers."""
    made = []

    def publish(url, stream=Stream(), channel="q"):  # noqa: B008 - it is frozen
        publisher = Publisher(RedisEventEmitter(url=url), channel, "shop", stream)
        made.append(publisher)

        def send(number, *, wait=True):
            for _ in range(number):
                publisher(record(1), SOURCE)
            assert not wait or publisher.flush(10.0)

        send.publisher = publisher
        return send

    yield publish
    for publisher in made:
        publisher.close(0.1)
        if publisher._thread is not None:
            publisher._thread.join(10)


@pytest.fixture
def published(admin):
    """The numbers that a subscriber has got since the start."""
    with admin.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe("q")
        got = []

        def numbers():
            while (message := subscription.get_message(timeout=0.05)) is not None:
                got.append(json.loads(message["data"])["seq"])
            return got

        numbers()
        yield numbers


def kept(client, key=KEY):
    """The numbers of the events in the stream."""
    return [json.loads(fields[b"body"])["seq"] for _, fields in client.xrange(key)]


def messages(caplog):
    return [entry.getMessage() for entry in caplog.records]


def test_each_event_is_published_and_kept_as_it_is(server, admin, publish, losses):
    with admin.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe("q")
        subscription.get_message(timeout=5)

        publish(server.url)(300)

        heard = [subscription.get_message(timeout=5)["data"] for _ in range(300)]

    assert [fields for _, fields in admin.xrange(KEY)] == [
        {b"body": data} for data in heard
    ]
    assert losses.counts() == {}


def test_redis_keeps_about_as_many_as_it_is_told(server, admin, publish):
    publish(server.url, Stream(entries=200))(2_000)

    numbers = kept(admin)
    assert 200 <= len(numbers) <= 300
    assert numbers == list(range(2_001 - len(numbers), 2_001))


def test_a_key_may_be_given(server, admin, publish):
    publish(server.url, Stream(key="app:events"))(3)

    assert admin.keys() == [b"app:events"]
    assert kept(admin, "app:events") == [1, 2, 3]


def test_without_the_option_there_is_no_stream(server, admin, publish, published):
    publish(server.url, None)(3)

    wait_until(lambda: published() == [1, 2, 3])
    assert admin.keys() == []


def test_the_stream_is_in_the_database_of_the_url(server, admin, publish):
    publish(f"redis://127.0.0.1:{server.port}/3")(2)

    assert admin.keys() == []
    with redis.Redis(port=server.port, db=3) as other:
        assert kept(other) == [1, 2]


def test_it_expires_a_week_after_the_last_event(server, admin, publish, monkeypatch):
    send = publish(server.url)
    send(1)
    wait_until(lambda: admin.ttl(KEY) > WEEK - 60)

    # Not with each event: that is one more command.
    admin.expire(KEY, 1_000)
    send(1)
    assert admin.ttl(KEY) <= 1_000
    send.publisher.stream._renew_at = 0.0
    send(1)

    wait_until(lambda: admin.ttl(KEY) > WEEK - 60)


def test_a_new_connection_makes_a_new_stream_expire(server, publish):
    send = publish(server.url)
    send(1)
    server.kill()
    server.start()

    send(1, wait=False)

    with redis.Redis.from_url(server.url) as admin:
        wait_until(lambda: admin.ttl(KEY) > WEEK - 60)


def traceback_of(number):
    return "".join(f"line {one}\n" for one in range(number))


def test_an_entry_has_at_most_two_kilobytes_of_a_traceback(server, admin, publish):
    whole = traceback_of(1_000)
    publisher = publish(server.url).publisher
    with admin.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe("q")
        subscription.get_message(timeout=5)

        publisher(record(1, "error-task", traceback=whole, duration=0.25), SOURCE)
        assert publisher.flush(10.0)

        heard = json.loads(subscription.get_message(timeout=5)["data"])
    ((_, fields),) = admin.xrange(KEY)
    body = json.loads(fields[b"body"])
    short = body.pop("traceback")
    assert heard.pop("traceback") == whole
    assert body == heard
    assert len(short.encode()) <= 2_048
    assert short.startswith("line 0\n")
    assert short.endswith("line 999\n")
    assert "characters left out" in short


@pytest.mark.parametrize(
    "event",
    [
        {"status": "error-task", "traceback": "x" * 1_900},
        {"status": "error-task", "traceback": "x" * 2_048, "name": "送" * 900},
        {"status": "error-task", "traceback": None, "name": "n" * 3_000},
        {"status": "finished", "name": "n" * 3_000},
    ],
    ids=["short", "just so long", "none", "no error"],
)
def test_what_has_no_long_traceback_is_kept_to_the_byte(event):
    payload = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()

    assert body_of(payload) == payload


def test_letters_of_several_bytes_are_cut_whole():
    event = {"status": "lost", "traceback": "送" * 5_000, "retries": 2**1000}
    payload = json.dumps(event, ensure_ascii=False).encode()

    short = json.loads(body_of(payload))

    assert len(short["traceback"].encode()) <= 2_048
    assert {**event, "traceback": short["traceback"]} == short


def wrong_type(admin):
    admin.delete(KEY)
    admin.rpush(KEY, "theirs")


def allow(admin):
    admin.execute_command("ACL", "SETUSER", "default", "on", "+@all", "~*")
    admin.config_set("maxmemory", 0)
    admin.delete(KEY)


def no_command(admin):
    admin.execute_command("ACL", "SETUSER", "default", "-xadd")


def no_key(admin):
    admin.execute_command("ACL", "SETUSER", "default", "resetkeys", "~other")


def no_memory(admin):
    admin.config_set("maxmemory-policy", "noeviction")
    admin.config_set("maxmemory", 1)


REFUSALS = {
    "another type": (wrong_type, "WRONGTYPE Operation against a key"),
    "no permission for the command": (no_command, "no permissions to run the 'xadd'"),
    "no permission for the key": (no_key, "no permissions to access"),
    "no memory": (no_memory, "command not allowed when used memory > 'maxmemory'"),
}


@pytest.mark.parametrize(("refuse", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refused_stream_is_counted_and_events_are_published_all_the_same(
    server, admin, publish, published, losses, caplog, refuse, reason
):
    send = publish(server.url)
    send(2)

    refuse(admin)
    send(50)
    send(50)
    assert losses.by_queue() == {("shop", "stream_refused"): 100}
    allow(admin)
    send(3)

    wait_until(lambda: len(published()) == 105)
    assert published() == list(range(1, 106))
    assert kept(admin) == [103, 104, 105]
    assert losses.by_queue() == {("shop", "stream_refused"): 100}
    refused, again = messages(caplog)
    where = f"the stream '{KEY}' of redis://127.0.0.1:{server.port}"
    assert refused.startswith(f"{where} takes no events: ")
    assert reason.lower() in refused.lower()
    assert refused.endswith(
        "; they are published all the same (counted as stream_refused)"
    )
    assert again == f"events go to {where} again"


def test_a_key_of_another_program_is_left_alone(server, admin, publish):
    admin.rpush(KEY, "theirs")

    publish(server.url)(10)

    assert admin.lrange(KEY, 0, -1) == [b"theirs"]
    assert admin.ttl(KEY) == -1


def cluster_node():
    # By default its other port is 10,000 above, which may be past all.
    return started_server(
        *("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    )


def is_up(node):
    """Whether *node* knows which node has each slot."""
    return node.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


def test_a_node_of_a_cluster_that_has_not_the_key_refuses_it(publish, losses, caplog):
    with (
        cluster_node() as owner,
        cluster_node() as other,
        redis.Redis.from_url(owner.url) as one,
        redis.Redis.from_url(other.url) as two,
    ):
        one.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        bus = one.config_get("cluster-port")["cluster-port"]
        two.execute_command("CLUSTER", "MEET", "127.0.0.1", owner.port, bus)
        for node in (one, two):
            wait_until(lambda node=node: is_up(node))
        with two.pubsub(ignore_subscribe_messages=True) as subscription:
            subscription.subscribe("q")
            subscription.get_message(timeout=5)

            publish(other.url)(5)
            got = [subscription.get_message(timeout=5) for _ in range(5)]
        publish(owner.url)(5)

        assert [json.loads(one["data"])["seq"] for one in got] == [1, 2, 3, 4, 5]
        assert kept(one) == [1, 2, 3, 4, 5]
    assert losses.by_queue() == {("shop", "stream_refused"): 5}
    (line,) = messages(caplog)
    assert "MOVED" in line or str(owner.port) in line


def test_a_server_that_does_not_know_streams_publishes_all_the_same(
    publish, losses, caplog
):
    with (
        started_server("--rename-command", "XADD", "") as server,
        redis.Redis.from_url(server.url) as admin,
        admin.pubsub(ignore_subscribe_messages=True) as subscription,
    ):
        subscription.subscribe("q")
        subscription.get_message(timeout=5)

        publish(server.url)(20)

        got = [subscription.get_message(timeout=5) for _ in range(20)]
        assert [json.loads(one["data"])["seq"] for one in got] == list(range(1, 21))
        assert admin.keys() == []
    assert losses.by_queue() == {("shop", "stream_refused"): 20}
    (line,) = messages(caplog)
    assert "unknown command" in line


def test_a_proxy_that_hangs_up_on_it_publishes_all_the_same(
    server, admin, publish, published, losses, caplog
):
    with Forwarder(server.port, decide=lambda data: b"XADD" not in data) as proxy:
        publish(proxy.url)(20)

        wait_until(lambda: published() == list(range(1, 21)))
    assert losses.by_queue() == {("shop", "stream_refused"): 20}
    (line,) = messages(caplog)
    assert "the server does not answer XADD" in line
    assert admin.keys() == []


@pytest.mark.parametrize("breaks", [1, 2])
def test_a_connection_that_breaks_while_it_is_made_is_made_again(
    server, admin, publish, published, losses, breaks
):
    left = [False] * breaks

    def decide(data):
        return left.pop() if left and b"XADD" in data else True

    with Forwarder(server.port, decide=decide) as proxy:
        publish(proxy.url)(20)

        wait_until(lambda: published() == list(range(1, 21)))
    assert left == []
    assert kept(admin) == list(range(1, 21))
    assert losses.counts() == {}


def test_events_that_may_not_be_published_are_kept_all_the_same(
    server, admin, publish, published, losses, caplog
):
    send = publish(server.url)
    send(2)

    admin.execute_command("ACL", "SETUSER", "default", "-publish")
    send(50)
    assert losses.by_queue() == {("shop", "feed_refused"): 50}
    admin.execute_command("ACL", "SETUSER", "default", "+publish")
    send(3)

    assert kept(admin) == list(range(1, 56))
    wait_until(lambda: published() == [1, 2, 53, 54, 55])
    assert losses.by_queue() == {("shop", "feed_refused"): 50}
    refused, again = messages(caplog)
    where = f"redis://127.0.0.1:{server.port}"
    assert refused.startswith(f"{where} refuses to publish events: ")
    assert refused.endswith("; only the stream has them (counted as feed_refused)")
    assert again == f"events are published on {where} again"


def test_what_is_refused_by_both_counts_for_both(server, admin, publish, losses):
    admin.execute_command("ACL", "SETUSER", "default", "-publish", "-xadd")

    publish(server.url)(1, wait=False)

    wait_until(lambda: len(losses.by_queue()) == 2)
    assert losses.by_queue() == {
        ("shop", "feed_refused"): 1,
        ("shop", "stream_refused"): 1,
    }


def test_a_refused_expire_is_said_once_and_loses_nothing(
    server, admin, publish, losses, caplog
):
    admin.execute_command("ACL", "SETUSER", "default", "-expire")
    send = publish(server.url)

    for _ in range(3):
        send.publisher.stream._renew_at = 0.0
        send(5)

    assert kept(admin) == list(range(1, 16))
    assert losses.counts() == {}
    assert messages(caplog) == [
        f"redis://127.0.0.1:{server.port} refuses EXPIRE, so the stream '{KEY}' stays"
        " (nothing is lost so far)"
    ]


def test_a_broken_connection_leaves_no_answer_to_the_wrong_event(
    server, admin, publish, published, losses
):
    send = publish(server.url)
    for _ in range(20):
        send(40, wait=False)
        admin.client_kill_filter(_type="normal", skipme=True)
    send(1, wait=False)
    wait_until(lambda: published()[-1:] == [801])
    assert send.publisher.flush(10.0)

    lost = losses.counts().get("feed_unconfirmed", 0)
    assert set(losses.counts()) <= {"feed_unconfirmed"}
    assert 801 - lost <= len(published()) <= 801
    added = kept(admin)
    assert (published(), added) == (sorted(set(published())), sorted(set(added)))
    # Redis may have read only the first of the two commands about an event.
    assert set(added) <= set(published())
    assert len(published()) - len(added) <= lost


@pytest.mark.parametrize("role", ["told", "not told"])
def test_a_master_that_becomes_a_replica_refuses_one_write(publish, losses, role):
    """Without waiting for the next look at its role."""
    hidden = [] if role == "told" else ["ROLE", "INFO"]
    options = [one for name in hidden for one in ("--rename-command", name, "")]
    with (
        started_server(*options) as one,
        started_server(*options) as two,
        Forwarder(one.port) as name,
        redis.Redis.from_url(one.url) as old,
        redis.Redis.from_url(two.url) as new,
    ):
        send = publish(name.url)
        send(1)
        name.target = two.port
        old.replicaof("127.0.0.1", two.port)

        for _ in range(5):
            send(1)

        assert kept(new) == [3, 4, 5, 6]
        assert losses.counts()["stream_refused"] == 1
        send.publisher.close(1.0)


def test_a_server_that_stays_a_replica_is_not_connected_to_each_time(publish, losses):
    with (
        started_server() as one,
        started_server("--replicaof", f"127.0.0.1 {one.port}") as two,
        redis.Redis.from_url(two.url) as replica,
    ):
        send = publish(two.url)
        send(1)
        before = replica.info("stats")["total_connections_received"]
        for _ in range(20):
            send(1)

        assert losses.counts()["stream_refused"] == 21
        after = replica.info("stats")["total_connections_received"]
        # And one for the first refusal.
        assert after - before <= 1
        send.publisher.close(1.0)


def test_a_pause_of_writes_loses_no_event(server, admin, publish, published, losses):
    send = publish(server.url)
    send(1)

    admin.execute_command("CLIENT", "PAUSE", 20_000, "WRITE")
    send(100, wait=False)
    wait_until(lambda: send.publisher._connection.unanswered > 0)
    admin.execute_command("CLIENT", "UNPAUSE")

    assert send.publisher.flush(20.0)
    wait_until(lambda: len(published()) == 101)
    assert kept(admin) == published()
    assert losses.counts() == {}
