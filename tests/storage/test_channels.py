"""The channel: one rule for publisher and listener."""

import enum
import inspect
import threading

import huey as hueys
import pytest
import redis
from huey import MemoryHuey, RedisHuey, SqliteHuey
from huey.storage import RedisStorage

from huey_otel import EventListener, RedisEventEmitter, instrument
from huey_otel._storage.emitter import channel_of
from tests.support.programs import ROOT
from tests.support.redis_server import serving
from tests.support.waiting import wait_until

server = pytest.fixture(serving)

HUEY_3 = int(hueys.__version__.split(".")[0]) >= 3
ADDRESS = "redis://127.0.0.1:1"

NAMES = {
    "my-app": ("myapp", "myapp"),
    "My_App-9": ("My_App9", "ypp9"),
    "my_app": ("my_app", "myapp"),
    "заказы": ("заказы", "заказы"),
    "---": ("---", "---"),
    "a": ("a", "a"),
}


@pytest.mark.parametrize(("queue", "channels"), NAMES.items(), ids=ascii)
def test_a_redis_queue_has_the_name_of_its_keys_as_its_channel(queue, channels):
    huey = RedisHuey(queue, url=ADDRESS)

    assert channel_of(queue, huey.storage) == channels[0 if HUEY_3 else 1]


@pytest.mark.parametrize("queue", ["my-app", "заказы"], ids=ascii)
def test_a_redis_queue_whose_name_huey_keeps_has_all_of_it(queue):
    if "clean_name" not in inspect.signature(RedisStorage).parameters:
        pytest.skip("huey before 3.4 always cleans it")
    storage = RedisStorage(queue, url=ADDRESS, clean_name=False)

    assert channel_of(queue, storage) == queue


@pytest.mark.parametrize("kind", [MemoryHuey, SqliteHuey])
def test_another_queue_has_its_own_name(tmp_path, kind):
    options = {"filename": str(tmp_path / "db")} if kind is SqliteHuey else {}
    huey = kind("my-app", **options)

    assert channel_of("my-app", huey.storage) == "my-app"
    huey.storage.close()


class Name(str, enum.Enum):  # noqa: UP042 - `str()` of a StrEnum is its value
    JOBS = "jobs"


@pytest.mark.parametrize(
    ("name", "channel"), [(7, "7"), (b"jobs", "jobs"), (Name.JOBS, "jobs")], ids=repr
)
def test_a_name_of_another_type_becomes_text(name, channel):
    huey = MemoryHuey(name)

    instrumentation = instrument(huey, metrics_port=None)

    instrumentation.uninstrument()
    assert channel_of(name, huey.storage) == channel
    assert type(channel_of(name, huey.storage)) is str


def test_a_given_channel_beats_the_queues():
    huey = RedisHuey("my-app", url=ADDRESS)

    assert channel_of("my-app", huey.storage, "news") == "news"


@pytest.mark.parametrize("queue", ["", "\ud800"], ids=ascii)
def test_a_channel_is_never_empty_and_can_always_be_sent(queue):
    channel = channel_of(queue, MemoryHuey(queue).storage)

    assert channel.encode()


def test_a_channel_that_cannot_be_sent_is_refused():
    with pytest.raises(ValueError, match="this is no UTF-8"):
        RedisEventEmitter(url="redis://", channel="\ud800")


@pytest.mark.live
@pytest.mark.parametrize("options", [{}, {"encoding": "latin-1"}], ids=str)
def test_listeners_of_a_queue_without_ascii_letters_get_its_events(
    server, losses, options
):
    pool = redis.ConnectionPool.from_url(server.url, **options)
    huey = RedisHuey("заказы", connection_pool=pool)
    instrumentation = instrument(huey, metrics_port=None)
    add = huey.task(name="add")(lambda: None)
    by_storage, by_listener = [], []
    listener = EventListener(server.url, "заказы")
    threads = [
        threading.Thread(target=read_two, args=(huey.storage, by_storage)),
        threading.Thread(target=read_two, args=(listener, by_listener)),
    ]
    for thread in threads:
        thread.start()
    with redis.Redis.from_url(server.url) as admin:
        channel = "заказы".encode()
        wait_until(lambda: admin.pubsub_numsub(channel) == [(channel, 2)])

    huey.execute(add.s())

    for thread in threads:
        thread.join(20)
    listener.close()
    instrumentation.uninstrument()
    pool.disconnect()
    assert by_storage == by_listener == ["started", "finished"]
    assert losses.counts() == {}


def read_two(source, statuses):
    for event in source:
        statuses.append(event["status"])
        if len(statuses) == 2:
            break


def test_writer_and_readers_of_a_queue_agree(monkeypatch):
    huey = RedisHuey("My_App-9", url=ADDRESS)
    instrumentation = instrument(huey, metrics_port=None)

    _, read = huey.storage._huey_otel_events

    written = instrumentation._outputs.destinations.current.channel
    assert written == read == channel_of("My_App-9", huey.storage)
    instrumentation.uninstrument()


def test_readers_use_an_emitters_channel():
    huey = RedisHuey("my-app", url=ADDRESS)
    emitter = RedisEventEmitter(url=ADDRESS, channel="news")
    instrumentation = instrument(huey, events=emitter, metrics_port=None)

    assert huey.storage._huey_otel_events == (emitter, "news")
    instrumentation.uninstrument()


def documented() -> list[tuple[str, str, str, str]]:
    """The rows of the table in docs/events.md: a queue's name and its channels."""
    text = (ROOT / "docs" / "events.md").read_text()
    rows = text.partition("| queue on Redis |")[2].partition("\n\n")[0].splitlines()
    return [tuple(row.replace("`", "").strip("| ").split(" | ")) for row in rows[2:]]


@pytest.mark.parametrize("row", documented(), ids=lambda row: ascii(row[0]))
def test_the_documented_channels_are_right(row):
    queue, of_huey_2, of_huey_3, uncleaned = row
    huey = RedisHuey(queue, url=ADDRESS)

    assert channel_of(queue, huey.storage) == (of_huey_3 if HUEY_3 else of_huey_2)
    assert uncleaned == queue


def test_the_channels_are_documented():
    assert len(documented()) == 4
