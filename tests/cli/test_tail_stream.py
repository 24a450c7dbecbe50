"""`huey-otel tail` from the stream: the last events, and then as they come."""

import json
import signal

import pytest
import redis

from tests.support.commands import Command
from tests.support.programs import snippet
from tests.support.redis_server import serving
from tests.support.waiting import wait_to_read, wait_until

pytestmark = [pytest.mark.live, pytest.mark.once, pytest.mark.slow]

server = pytest.fixture(serving)

KEY = "huey.events.q"
LAST = "from the stream: the last 20, and then as they come"
NO_STREAM = "as they come: Redis keeps none, so earlier ones are not shown"


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def tail():
    """Starts the command; it is ended with the test."""
    started = []

    def tail(*arguments, **options):
        started.append(Command("tail", *arguments, **options))
        return started[-1]

    yield tail
    for command in started:
        command.__exit__(None, None, None)


def add(client, *numbers, key=KEY, entry="*", **more):
    """Add events to the stream, as a consumer does, without publishing them."""
    added = b""
    for seq in numbers:
        event = {
            "status": "finished",
            "error": False,
            "id": f"{seq:08}",
            "task": "add",
            "name": "app.tasks.add",
            "timestamp": 1795346713.638,
            "queue": "q",
            "publisher": "web-1:7:1",
            "seq": seq,
        } | more
        added = client.xadd(key, {"body": json.dumps(event)}, id=entry)
    return added.decode()


def shown(command, number):
    return [json.loads(line)["seq"] for line in command.shown(number)]


def test_the_last_twenty_come_first(server, admin, tail):
    add(admin, *range(1, 101))

    command = tail(server.url, "--queue", "q").said(
        f"events on 'q' of redis://127.0.0.1:{server.port} {LAST}"
    )
    assert shown(command, 20) == list(range(81, 101))
    add(admin, *range(101, 131))

    assert shown(command, 50) == list(range(81, 131))
    command.said("no key of a queue 'q'")
    assert len(command.err) == 2


def test_a_stream_may_have_fewer(server, admin, tail):
    add(admin, 1, 2)

    assert shown(tail(server.url, "--queue", "q"), 2) == [1, 2]


@pytest.mark.parametrize("since", ["1h", "beginning"])
def test_it_begins_where_it_is_told_to(server, admin, tail, since):
    now = admin.time()[0]
    add(admin, 1, entry=f"{(now - 7_200) * 1_000}-0")
    add(admin, *range(2, 102), entry="*")
    expected = list(range(1 if since == "beginning" else 2, 102))

    command = tail(server.url, "--queue", "q", "--since", since).said(
        f"from the stream: since {since}, and then as they come"
    )

    assert shown(command, len(expected)) == expected


def test_it_begins_behind_an_entry(server, admin, tail):
    middle = add(admin, 1)
    add(admin, 2, 3)

    command = tail(server.url, "--queue", "q", "--since", middle)

    assert shown(command, 2) == [2, 3]


def test_flags_choose_among_earlier_events_as_well(server, admin, tail):
    add(admin, 1)
    add(admin, 2, status="error-task", error=True)
    add(admin, 3)

    command = tail(server.url, "--queue", "q", "--since", "1h", "--errors")

    assert shown(command, 1) == [2]


@pytest.mark.parametrize("when", ["600", "yesterday", "10min", ""])
def test_a_time_that_is_none_is_an_error(server, tail, when):
    command = tail(server.url, "--queue", "q", f"--since={when}")

    assert command.ended() == 2
    assert command.err == [
        f"huey-otel: --since {when!r}: expected a listener's `position`, the id of an"
        " entry such as 1795346713638-0, a time ago such as 90s, 10m, 3h or 2d,"
        " 'beginning', or None for what comes from now on"
    ]


def test_an_id_in_the_future_is_an_error(server, admin, tail):
    add(admin, 1)

    command = tail(server.url, "--queue", "q", "--since", f"{2**50}-0")

    assert command.ended() == 2
    (line,) = command.err
    assert line.startswith(f"huey-otel: --since '{2**50}-0': this is ")
    assert " s in the future, by the clock of Redis; expected " in line


def test_without_a_stream_there_is_nothing_since(server, tail):
    command = tail(server.url, "--queue", "q", "--since", "10m")

    assert command.ended() == 2
    assert command.err == [
        f"huey-otel: --since 10m: there is no stream '{KEY}' of earlier events;"
        " consumers write one with stream=True or HUEY_OTEL_STREAM=on"
    ]


def test_queues_with_and_without_a_stream_are_heard_at_once(server, admin, tail):
    add(admin, 1)

    command = tail(server.url, "--queue", "q", "--queue", "shop")
    command.said(f"events on 'q' of redis://127.0.0.1:{server.port} {LAST}")
    command.said(f"events on 'shop' of redis://127.0.0.1:{server.port} {NO_STREAM}")
    assert shown(command, 1) == [1]
    event = {"status": "finished", "publisher": "web-2:7:1", "seq": 7}
    assert admin.publish("shop", json.dumps(event)) == 1

    assert shown(command, 2) == [1, 7]


def test_a_key_of_another_type_is_no_stream(server, admin, tail):
    admin.rpush(KEY, "theirs")

    tail(server.url, "--queue", "q").said(f"127.0.0.1:{server.port} {NO_STREAM}")


def test_what_is_trimmed_while_it_does_not_read_is_said(server, admin, tail):
    add(admin, *range(1, 101))
    command = tail(server.url, "--queue", "q")
    command.shown(20)
    # It has reached the end, and knows how many there are.
    add(admin, 101)
    command.shown(21)

    command.process.send_signal(signal.SIGSTOP)
    add(admin, *range(102, 2_001))
    admin.xtrim(KEY, maxlen=100, approximate=False)
    command.process.send_signal(signal.SIGCONT)
    wait_until(lambda: json.loads(command.out[-1])["seq"] == 2_000)

    seen = shown(command, len(command.out))
    gone = 2_000 - 80 - len(seen)
    assert gone > 1_000
    wait_to_read(
        lambda: command.told("trimmed", "missed"),
        [f"huey-otel: {gone:,} events trimmed before they were read"],
    )


def test_what_no_stream_has_is_said_as_missed(server, admin, tail):
    add(admin, 1, 2)
    command = tail(server.url, "--queue", "q")
    command.shown(2)

    add(admin, 15)

    assert shown(command, 3) == [1, 2, 15]
    command.said("12 events missed")


def test_a_redis_that_is_away_for_a_while_costs_no_event(server, admin, tail):
    add(admin, 1)
    command = tail(server.url, "--queue", "q")
    command.shown(1)

    for seq in range(2, 30):
        add(admin, seq)
        admin.client_kill_filter(_type="normal", skipme=True)

    assert shown(command, 29) == list(range(1, 30))
    assert not any("missed" in line or "trimmed" in line for line in command.err)


def published(client, *numbers):
    """Publish events that are in no stream."""
    for seq in numbers:
        event = {"status": "finished", "publisher": "web-2:7:1", "seq": seq}
        assert client.publish("q", json.dumps(event)) == 1


def test_what_is_published_and_in_no_stream_is_shown_as_well(server, admin, tail):
    add(admin, 1)
    command = tail(server.url, "--queue", "q")
    command.shown(1)
    wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])

    published(admin, 7, 8)
    assert shown(command, 3) == [1, 7, 8]
    # Both are in the stream after all.
    add(admin, 7, 8, 9, publisher="web-2:7:1")
    add(admin, 2)

    assert shown(command, 5) == [1, 7, 8, 9, 2]
    published(admin, 10)
    assert shown(command, 6)[-1] == 10
    # The stream lacks 10 and 11, and the one was shown.
    add(admin, 12, publisher="web-2:7:1")
    assert shown(command, 7)[-1] == 12
    wait_to_read(
        lambda: command.told("missed", "not in the stream"),
        [
            f"huey-otel: events are published that are not in the stream '{KEY}', and"
            " shown some seconds late: huey-otel check looks closer",
            "huey-otel: 1 event missed",
        ],
    )


def test_what_is_published_and_in_the_stream_is_shown_once(server, admin, tail):
    add(admin, 1)
    command = tail(server.url, "--queue", "q")
    command.shown(1)
    wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])

    for seq in range(2, 200):
        published(admin, seq)
        add(admin, seq, publisher="web-2:7:1")
    command.shown(199)
    # It has been silent for long enough once this comes.
    published(admin, 500)

    assert shown(command, 200) == [*range(1, 200), 500]


APP = """
import os
from huey import RedisHuey
from huey_otel import instrument

huey = RedisHuey("my-app", url=os.environ["URL"])

@huey.task()
def add(a, b):
    return a + b

telemetry = instrument(huey, **{options})
"""


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"stream": True}, "huey.events.myapp"),
        ({"stream": True, "channel": "ours"}, "huey.events.ours"),
        ({"stream": "app:events"}, "app:events"),
    ],
    ids=["by default", "of a channel of its own", "under a key of its own"],
)
@pytest.mark.parametrize("events", [0, 3])
def test_the_stream_of_an_application_is_the_one_that_it_writes(
    server, admin, tmp_path, tail, options, key, events
):
    (tmp_path / "app.py").write_text(APP.format(options=options))
    add(admin, *range(1, events + 1), key=key)

    command = tail("app.huey", cwd=tmp_path, URL=server.url).said(LAST)
    add(admin, events + 1, key=key)

    assert shown(command, events + 1) == list(range(1, events + 2))


def test_the_command_in_the_document_works(server, admin, tail):
    words = snippet("docs/command.md", "since").split()
    add(admin, 1, status="error-task", error=True)

    # What is behind the name of the command and its target.
    command = tail(server.url, "--queue", "q", *words[3:])

    assert command.shown(1)
