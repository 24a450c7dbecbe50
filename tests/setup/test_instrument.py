"""instrument(): what it accepts, what it swaps, and that all of it can be undone."""

import math
import pickle
import threading

import pytest
from huey import FileHuey, MemoryHuey, RedisHuey, SqliteHuey
from huey.api import Huey
from huey.consumer import Consumer, Worker
from huey.exceptions import ConfigurationError
from huey.serializer import Serializer, SignedSerializer
from huey.storage import MemoryStorage
from prometheus_client import REGISTRY
from redis import ConnectionPool, Redis, UsernamePasswordCredentialProvider
from redis.backoff import ExponentialBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from huey_otel import (
    EventListener,
    Instrumentation,
    RedisEventEmitter,
    instrument,
    uninstrument,
)
from huey_otel._hooks.consumer import ObservedConsumer, ObservedWorker
from huey_otel._hooks.huey import ObservedHuey
from huey_otel._hooks.serializer import ObservedSerializer
from huey_otel._hooks.storage import ObservedStorage
from huey_otel._wire.carrier import decode
from tests.support.seen import Drain, Seen

ADDRESS = "redis://127.0.0.1:1/0"


class MiniHuey:
    """As huey's own of that name, which needs gevent: it shares nothing with Huey."""


class SecretURL:
    """As a URL of another library, which shows all of it."""

    def __repr__(self):
        return "URL('redis://user:secret@host')"


class OwnHuey(MemoryHuey):
    """A user's subclass that does more than huey's."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.enqueued = []

    def enqueue(self, task):
        self.enqueued.append(task.id)
        return super().enqueue(task)


class SlottedHuey(Huey):
    """A user's subclass with slots."""

    __slots__ = ("extra",)

    def get_storage(self, **kwargs):
        return MemoryStorage(self.name, **kwargs)


class Registering(type):
    """A user's metaclass."""

    known: tuple = ()

    def __call__(cls, *args, **kwargs):
        made = super().__call__(*args, **kwargs)
        cls.known = (*cls.known, made)
        return made


class MetaHuey(MemoryHuey, metaclass=Registering):
    """A user's subclass with a metaclass."""


KINDS = {
    "MemoryHuey": lambda _path: MemoryHuey("my-app"),
    "SqliteHuey": lambda path: SqliteHuey("my-app", filename=str(path / "q.db")),
    "FileHuey": lambda path: FileHuey("my-app", path=str(path / "q")),
    "a subclass": lambda _path: OwnHuey("my-app"),
    "slots": lambda _path: SlottedHuey("my-app"),
    "a metaclass": lambda _path: MetaHuey("my-app"),
}


def attributes(huey):
    """What a huey is made of, without the reference to what had observed it."""
    return {name: value for name, value in vars(huey).items() if name != "_huey_otel"}


@pytest.fixture(params=KINDS.values(), ids=list(KINDS))
def any_huey(request, tmp_path):
    made = request.param(tmp_path)
    yield made
    close = getattr(made.storage, "close", None)
    if close is not None:
        close()


def test_a_task_runs_as_before_on_any_huey(any_huey):
    seen = Seen(any_huey)
    drain = Drain(any_huey)

    @any_huey.task(retries=1)
    def add(a, b):
        return a + b

    result = add(1, 2)
    escaped = drain()

    assert escaped == []
    assert result() == 3
    assert seen.steps == [("started", 1, 1), ("finished", 1, 1)]
    assert seen.ends == [("success", "success")]


def test_undone_exactly_on_any_huey(any_huey):
    things = (any_huey, any_huey.serializer, any_huey.storage)
    classes = [type(thing) for thing in things]
    before = [dict(vars(thing)) for thing in things]

    instrumentation = instrument(any_huey)
    swapped = [type(thing) for thing in things]
    instrumentation.uninstrument()

    assert [type(thing) for thing in things] == classes
    assert attributes(any_huey) == before[0]
    assert [dict(vars(thing)) for thing in things[1:]] == before[1:]
    assert [
        kind.__mro__.count(mixin)
        for kind, mixin in zip(
            swapped, (ObservedHuey, ObservedSerializer, ObservedStorage), strict=True
        )
    ] == [1, 1, 1]


def test_the_class_passes_for_the_old_one(huey):
    before = type(huey)

    instrument(huey)

    kind = type(huey)
    assert kind is not before
    assert isinstance(huey, before)
    assert (kind.__name__, kind.__qualname__, kind.__module__, kind.__doc__) == (
        before.__name__,
        before.__qualname__,
        before.__module__,
        before.__doc__,
    )


def test_no_class_of_hueys_is_changed(huey):
    before = {
        kind: dict(vars(kind))
        for kind in (Huey, MemoryHuey, Serializer, MemoryStorage, Consumer, Worker)
    }

    instrument(huey)
    huey.create_consumer()

    assert {kind: dict(vars(kind)) for kind in before} == before


def test_a_later_patch_of_hueys_class_still_acts(huey, drain, monkeypatch):
    instrument(huey)
    patched = []
    original = Huey.enqueue

    def enqueue(self, task):
        patched.append(task.name)
        return original(self, task)

    monkeypatch.setattr(Huey, "enqueue", enqueue)

    @huey.task()
    def send(): ...

    send()

    assert patched == ["send"]


def test_a_users_own_method_is_called_once():
    huey = OwnHuey("my-app")
    instrument(huey)

    @huey.task()
    def send(): ...

    result = send()

    assert huey.enqueued == [result.id]


SAME = {
    "nothing": {},
    "the defaults": {"tracebacks": True, "metrics_port": 9464, "link_after": 600},
    "in words": {"tracebacks": "on", "events": "on"},
    "the channel": {"channel": "ch"},
}


@pytest.mark.parametrize("options", SAME.values(), ids=list(SAME))
def test_a_second_call_returns_the_same(huey, monkeypatch, options):
    monkeypatch.delenv("HUEY_OTEL_METRICS_PORT")
    first = instrument(huey, channel="ch")
    kind = type(huey)

    second = instrument(huey, **options)

    assert second is first
    assert type(huey) is kind


def test_a_second_call_with_a_like_emitter_returns_the_same(huey):
    first = instrument(huey, events=ADDRESS, channel="ch")

    assert instrument(huey, events=ADDRESS) is first
    assert instrument(huey, events=RedisEventEmitter(url=ADDRESS)) is first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel": "other"}, "channel='other': {} channel='ch'; {}"),
        ({"tracebacks": "no"}, "tracebacks='no': {} tracebacks=True; {}"),
        ({"metrics_port": 1}, "metrics_port=1: {} metrics_port=0; {}"),
        ({"wait_buckets": [1]}, "wait_buckets=<list>: {} wait_buckets=<tuple>; {}"),
        ({"events": ADDRESS}, f"events={ADDRESS!r}: {{}} events=True; {{}}"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_second_call_with_other_options_is_refused(
    huey, monkeypatch, options, message
):
    monkeypatch.setenv("HUEY_OTEL_METRICS_PORT", "0")
    instrument(huey, channel="ch")

    with pytest.raises(ValueError, match="instrumented already") as refusal:
        instrument(huey, **options)

    assert str(refusal.value) == message.format(
        "this huey is instrumented already, with",
        "expected the same, or uninstrument(huey) first",
    )


def test_a_second_call_checks_its_arguments_all_the_same(huey):
    instrument(huey)

    with pytest.raises(TypeError):
        instrument(huey, channel=3)


def test_undone_and_done_again(huey, drain):
    first = instrument(huey)
    first.uninstrument()
    seen = Seen(huey)

    @huey.task()
    def send(): ...

    send()
    drain()

    assert seen.instrumentation is not first
    assert seen.steps == [("started", 0, 1), ("finished", 0, 1)]


def test_undoing_twice_is_harmless(huey):
    kind = type(huey)
    instrumentation = instrument(huey)

    instrumentation.uninstrument()
    instrumentation.uninstrument()
    uninstrument(huey)

    assert type(huey) is kind
    assert instrumentation.flush() is True


def test_a_huey_that_is_not_instrumented_can_be_uninstrumented(huey):
    uninstrument(huey)

    assert type(huey) is MemoryHuey


def test_as_a_context_manager(huey):
    with instrument(huey) as instrumentation:
        inside = type(huey)

    assert isinstance(instrumentation, Instrumentation)
    assert issubclass(inside, ObservedHuey)
    assert type(huey) is MemoryHuey


def test_nothing_is_seen_once_undone(huey, seen, drain):
    @huey.task()
    def send(): ...

    uninstrument(huey)
    send()
    drain()

    assert seen._records == []


def test_undone_in_the_middle_of_a_task(huey, seen, drain):
    @huey.task()
    def send():
        uninstrument(huey)
        return 1

    result = send()
    escaped = drain()

    assert escaped == []
    assert result() == 1
    assert type(huey) is MemoryHuey


@pytest.mark.parametrize(
    ("thing", "shown"),
    [
        pytest.param("x", "instrument('x')", id="a str"),
        pytest.param(None, "instrument(None)", id="None"),
        pytest.param(MemoryHuey, "instrument(<class", id="a class"),
        pytest.param(
            MiniHuey(),
            "instrument(<tests.setup.test_instrument.MiniHuey",
            id="MiniHuey",
        ),
    ],
)
def test_what_is_no_huey_is_refused(thing, shown):
    with pytest.raises(TypeError) as refusal:
        instrument(thing)

    message = str(refusal.value)
    assert message.startswith(shown)
    assert message.endswith(
        ": expected a huey.Huey, such as RedisHuey('my-app')"
        " (a MiniHuey has no consumer and no storage to observe)"
    )


def test_an_unknown_option_is_refused(huey):
    with pytest.raises(TypeError, match="does not know chanel") as refusal:
        instrument(huey, chanel="x", trace=True)

    assert "(did you mean channel?)" in str(refusal.value)
    assert type(huey) is MemoryHuey


def test_it_says_what_it_is(huey, monkeypatch):
    instrumentation = instrument(huey, events=ADDRESS)
    running = repr(instrumentation)
    instrumentation.uninstrument()
    undone = repr(instrumentation)
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")

    assert [running, undone, repr(instrument(huey))] == [
        "<Instrumentation of queue 'my-app': metrics not served, no consumer runs"
        " here; events on channel 'my-app' of redis://127.0.0.1:1; spans not asked for"
        " yet>",
        "<Instrumentation of queue 'my-app': undone>",
        "<Instrumentation of queue 'my-app': off, HUEY_OTEL_DISABLED is set>",
    ]


@pytest.mark.parametrize("events", [0, object(), RedisEventEmitter])
def test_events_that_are_no_emitter_are_refused(huey, events):
    with pytest.raises(TypeError, match=r"events=.*expected off .*RedisEventEmitter"):
        instrument(huey, events=events)


def test_events_may_be_a_url(huey):
    instrument(huey, events=ADDRESS)

    emitter, channel = huey.storage._huey_otel_events

    assert (emitter.address, channel) == ("redis://127.0.0.1:1", "my-app")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://host:99999/0", " (Port out of range 0-65535)"),
        ("http://host/0", ""),
        ("redis://host/first", " ('first' is no database number)"),
    ],
)
@pytest.mark.parametrize("way", ["events", "HUEY_OTEL_EVENTS"])
def test_a_url_that_is_none_of_redis_is_refused(huey, monkeypatch, way, url, reason):
    options = {"events": url}
    if way != "events":
        monkeypatch.setenv(way, url)
        options = {}

    with pytest.raises(ValueError, match="expected a Redis URL") as refusal:
        instrument(huey, **options)

    assert str(refusal.value).startswith(
        f"{way}: url={url!r}: expected a Redis URL: redis://, rediss:// or unix://"
    )
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "options",
    [
        {"channel": ""},
        {"channel": 1},
        {"publish_enqueued": "perhaps"},
        {"tracebacks": 1},
        {"flush_timeout": -1},
    ],
    ids=str,
)
def test_a_refusal_changes_nothing(huey, options):
    before = dict(vars(huey))

    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        instrument(huey, **options)

    assert type(huey) is MemoryHuey
    assert dict(vars(huey)) == before


def test_a_wrong_url_in_the_environment_is_refused_without_its_password(
    huey, monkeypatch
):
    monkeypatch.setenv("HUEY_OTEL_EVENTS", "http://user:secret@host:1/0")

    with pytest.raises(ValueError, match="HUEY_OTEL_EVENTS") as refusal:
        instrument(huey)

    assert "secret" not in str(refusal.value)
    assert type(huey) is MemoryHuey


def test_disabled_it_touches_nothing(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    before = dict(vars(huey))

    with instrument(huey) as instrumentation:
        assert type(huey) is MemoryHuey
        assert dict(vars(huey)) == before
        assert instrumentation.flush() is True

    assert type(huey) is MemoryHuey


def test_disabled_its_storage_can_still_be_listened_to(monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    monkeypatch.setenv("HUEY_OTEL_CHANNEL", "ch")
    huey = RedisHuey("my-app", url=ADDRESS)
    kind = type(huey.storage)

    with instrument(huey):
        emitter, channel = huey.storage._events()
        listens = iter(huey.storage)

    assert (emitter.address, channel) == ("redis://127.0.0.1:1", "ch")
    assert listens is not None
    assert type(huey.storage) is kind


def test_disabled_a_storage_without_redis_says_what_to_pass(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    instrument(huey)

    with pytest.raises(
        ConfigurationError, match="no Redis carries the events of Memory"
    ):
        iter(huey.storage)


def test_disabled_it_still_refuses_what_is_wrong(monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")

    with pytest.raises(TypeError):
        instrument("x")


def test_disabled_it_looks_at_no_other_variable(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    monkeypatch.setenv("HUEY_OTEL_FLUSH_TIMEOUT", "x")
    monkeypatch.setenv("HUEY_OTEL_METRICS_PORT", "x")

    instrument(huey)

    assert type(huey) is MemoryHuey


@pytest.mark.parametrize(
    ("timeout", "error"), [("1", TypeError), (-1, ValueError), (math.nan, ValueError)]
)
def test_a_flush_refuses_what_is_no_time(huey, timeout, error):
    with pytest.raises(error, match=r"timeout=.*expected a number of seconds"):
        instrument(huey).flush(timeout)


def test_tracebacks_can_be_left_out(huey, drain):
    seen = Seen(huey, tracebacks=False)

    @huey.task()
    def send():
        raise ValueError("secret")

    send()
    drain()

    event = seen.published[-1]
    assert (event["traceback"], event["exception"]) == (None, "ValueError")
    assert "secret" not in repr(seen.records)


# What is swapped beside the huey itself.


def test_a_new_storage_of_immediate_mode_is_observed(huey):
    instrument(huey, events=RedisEventEmitter(url=ADDRESS))

    huey.immediate = True
    immediate = isinstance(huey.storage, ObservedStorage)
    huey.immediate = False
    again = isinstance(huey.storage, ObservedStorage)
    uninstrument(huey)

    assert (immediate, again) == (True, True)
    assert type(huey.storage) is MemoryStorage


def test_tasks_are_seen_before_and_after_immediate_mode(huey, drain):
    @huey.task()
    def send(): ...

    statuses = []
    for immediate in (False, True, False):
        huey.immediate = immediate
        with instrument(huey):
            seen = Seen(huey)
            send()
            drain()
            statuses.append([step[0] for step in seen.steps])

    assert statuses == [["started", "finished"]] * 3


def test_a_consumer_and_its_workers_are_observed_and_released(huey):
    instrument(huey)
    consumer = huey.create_consumer(workers=2)
    workers = [worker for worker, _ in consumer.worker_threads]

    during = [type(consumer).__mro__[1], *(type(w).__mro__[1] for w in workers)]
    another = consumer._create_worker()
    consumer._create_process(another, "Worker-3")
    more = type(another)
    uninstrument(huey)

    assert during == [ObservedConsumer, ObservedWorker, ObservedWorker]
    assert (more.__name__, more.__mro__[1]) == ("Worker", ObservedWorker)
    assert type(consumer) is Consumer
    assert [type(worker) for worker in workers] == [Worker, Worker]


def test_without_a_redis_the_storage_says_what_to_pass(huey):
    instrument(huey)

    for listen in (lambda: iter(huey.storage), huey.storage.listener):
        with pytest.raises(ConfigurationError) as refusal:
            listen()
        assert str(refusal.value) == (
            "no Redis carries the events of MemoryStorage: pass"
            " events=RedisEventEmitter(url=...) to instrument(), or set"
            " HUEY_OTEL_EVENTS=redis://..."
        )


def test_with_events_off_the_storage_of_a_redis_huey_says_what_to_pass():
    huey = RedisHuey("my-app", url=ADDRESS)
    instrument(huey, events=None)

    with pytest.raises(
        ConfigurationError, match="no Redis carries the events of Redis"
    ):
        iter(huey.storage)


@pytest.mark.parametrize(
    ("options", "env", "channel"),
    [
        # huey leaves out what is no letter or digit.
        pytest.param({}, {}, "myapp", id="the storage's name"),
        pytest.param({"channel": "given"}, {"HUEY_OTEL_CHANNEL": "env"}, "given"),
        pytest.param({}, {"HUEY_OTEL_CHANNEL": "env"}, "env", id="environment"),
        pytest.param(
            {"events": RedisEventEmitter(url=ADDRESS, channel="emitter")},
            {},
            "emitter",
            id="the emitter's",
        ),
        pytest.param(
            {"events": RedisEventEmitter(url=ADDRESS, channel="emitter")},
            {"HUEY_OTEL_CHANNEL": "env"},
            "emitter",
            id="the emitter's beats the environment",
        ),
        pytest.param(
            {
                "events": RedisEventEmitter(url=ADDRESS, channel="emitter"),
                "channel": "emitter",
            },
            {},
            "emitter",
            id="twice the same",
        ),
    ],
)
def test_channel(monkeypatch, options, env, channel):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    huey = RedisHuey("my-app", url=ADDRESS)

    instrument(huey, **options)

    assert huey.storage._huey_otel_events[1] == channel


def test_a_channel_that_is_not_the_emitters_is_refused(huey):
    emitter = RedisEventEmitter(url=ADDRESS, channel="b")

    with pytest.raises(ValueError, match="channel") as refusal:
        instrument(huey, events=emitter, channel="a")

    assert str(refusal.value) == (
        "channel='a': events= has the channel 'b'; expected the same, or one of the two"
    )


def test_the_channel_elsewhere_is_the_queues_name(huey):
    instrument(huey, events=RedisEventEmitter(url=ADDRESS))

    assert huey.storage._huey_otel_events[1] == "my-app"


def test_the_storage_is_not_connected_by_being_observed():
    class LazyStorage(MemoryStorage):
        @property
        def conn(self):
            raise AssertionError("SQLite's and Postgres' storages connect here")

    huey = Huey("my-app", storage_class=LazyStorage)

    instrument(huey)

    assert isinstance(huey.storage, ObservedStorage)


def test_a_listener_of_the_storage_is_an_event_listener(losses):
    huey = RedisHuey("my-app", url=ADDRESS)
    instrument(huey)
    emitter, channel = huey.storage._events()

    listener = EventListener(emitter, channel)
    listener.close()

    assert list(listener) == []


# Serializers.


def queued(huey):
    """The message on the queue, as it is stored."""
    (message,) = huey.storage.enqueued_items()
    return message


SERIALIZERS = {
    "plain": Serializer,
    "gzip": lambda: Serializer(compression=True),
    "zlib": lambda: Serializer(compression=True, use_zlib=True),
    "signed": lambda: SignedSerializer(secret="s"),
    "signed and gzip": lambda: SignedSerializer(secret="s", compression=True),
    "an old protocol": lambda: Serializer(pickle_protocol=2),
}


@pytest.mark.parametrize("make", SERIALIZERS.values(), ids=list(SERIALIZERS))
def test_a_message_of_an_instrumented_huey_is_read_by_a_bare_one(make):
    sender = MemoryHuey("my-app", serializer=make())
    receiver = MemoryHuey("my-app", serializer=make())
    instrument(sender)
    for huey in (sender, receiver):
        huey.task(name="add")(lambda a: a)

    sender.enqueue(
        sender._registry._registry[next(iter(sender._registry._registry))]((7,))
    )
    task = receiver.deserialize_task(queued(sender))

    assert task.args == (7,)


@pytest.mark.parametrize("make", SERIALIZERS.values(), ids=list(SERIALIZERS))
def test_what_rides_in_a_message_comes_back(make):
    huey = MemoryHuey("my-app", serializer=make())
    seen = Seen(huey)
    drain = Drain(huey)

    @huey.task(retries=1)
    def send():
        raise ValueError("no")

    send()
    drain()

    assert [step for step in seen.steps if step[0] == "started"] == [
        ("started", 1, 1),
        ("started", 0, 2),
    ]
    assert seen.published[0]["wait"] >= 0.0


@pytest.mark.parametrize("make", SERIALIZERS.values(), ids=list(SERIALIZERS))
def test_a_message_of_a_bare_huey_is_executed(make):
    huey = MemoryHuey("my-app", serializer=make())

    @huey.task()
    def send():
        return 7

    result = send()
    seen = Seen(huey)
    Drain(huey)()

    assert result() == 7
    assert [(e["status"], e["attempt"]) for e in seen.published] == [
        ("started", 1),
        ("finished", 1),
    ]
    assert seen.published[0]["wait"] is None


def test_only_messages_have_a_trailer(huey):
    instrument(huey)

    @huey.task()
    def send():
        return "result"

    send()
    message = queued(huey)
    Drain(huey)()
    (result,) = huey.storage.result_items().values()

    assert decode(message).attempt == 1
    assert result == pickle.dumps("result", pickle.HIGHEST_PROTOCOL)


@pytest.mark.parametrize(
    "trailer",
    [
        b"nonsense\x08\x00\x00\x01hotl",
        b"[]\x02\x00\x00\x63hotl",
        b"x" * 1_000_000 + b"\xff\xff\xff\x01hotl",
    ],
    ids=["garbage", "a newer version", "megabytes"],
)
def test_a_task_with_a_hostile_trailer_runs_without_it_and_is_counted(
    huey, losses, trailer
):
    @huey.task()
    def send():
        return 7

    result = send()
    seen = Seen(huey)
    message = huey.storage.dequeue()
    huey.storage.enqueue(message + trailer)
    escaped = Drain(huey)()

    assert escaped == []
    assert result() == 7
    assert seen.published[0]["wait"] is None
    assert losses.counts() == {"carrier": 1}


@pytest.mark.parametrize("first", [0, 1], ids=["in order", "in reverse"])
def test_a_serializer_of_two_hueys_is_put_back_with_the_last(first):
    serializer = Serializer()
    hueys = [MemoryHuey(name, serializer=serializer) for name in ("a", "b")]
    for huey in hueys:
        instrument(huey)

    uninstrument(hueys[first])
    between = isinstance(serializer, ObservedSerializer)
    uninstrument(hueys[1 - first])

    assert between is True
    assert type(serializer) is Serializer
    assert vars(serializer) == vars(Serializer())


class JSONSerializer(Serializer):
    """A user's serializer that shares nothing with huey's."""

    def _serialize(self, data):
        import json

        return json.dumps(data).encode()

    def _deserialize(self, data):
        import json

        from huey.registry import Message

        value = json.loads(data)
        return Message(*value) if isinstance(value, list) else value


class ForeignSerializer:
    """A user's serializer that is no subclass of huey's."""

    def serialize(self, data):
        return pickle.dumps(data)

    def deserialize(self, data):
        return pickle.loads(data)


@pytest.mark.parametrize("kind", [JSONSerializer, ForeignSerializer])
def test_a_users_own_serializer_works_and_is_put_back(kind):
    serializer = kind()
    huey = MemoryHuey("my-app", serializer=serializer)
    seen = Seen(huey)

    @huey.task(retries=1)
    def send():
        return 7

    result = send()
    message = queued(huey)
    Drain(huey)()
    value = result()
    uninstrument(huey)

    assert message == kind().serialize(kind().deserialize(message))
    assert value == 7
    assert [step[0] for step in seen.steps] == ["started", "finished"]
    assert type(serializer) is kind


# Several at a time, and what is off.


def test_threads_that_instrument_at_once_get_the_same(huey):
    together = threading.Barrier(8)
    got = []

    def begin():
        together.wait()
        got.append(instrument(huey))

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [one is got[0] for one in got] == [True] * 8


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"events": "redis://u:a@h"}, {"events": "redis://v:b@h"}),
        ({"events": ADDRESS}, {"events": f"{ADDRESS}?socket_timeout=1"}),
    ],
)
def test_a_second_emitter_that_differs_in_anything_is_refused(huey, first, second):
    instrument(huey, **first)

    with pytest.raises(ValueError, match="instrumented already") as refusal:
        instrument(huey, **second)

    assert "b@" not in str(refusal.value)


def held(retries: int, password: str) -> RedisEventEmitter:
    """An emitter with settings whose classes have no equality of their own."""
    pool = ConnectionPool(
        retry=Retry(ExponentialBackoff(), retries),
        credential_provider=UsernamePasswordCredentialProvider("u", password),
    )
    return RedisEventEmitter(client=Redis(connection_pool=pool))


def test_a_second_emitter_whose_settings_hold_the_same_is_alike(huey):
    first = instrument(huey, events=held(3, "a"))

    assert instrument(huey, events=held(3, "a")) is first


@pytest.mark.parametrize(("retries", "password"), [(4, "a"), (3, "b")])
def test_a_second_emitter_whose_settings_hold_another_is_refused(
    huey, retries, password
):
    instrument(huey, events=held(3, "a"))

    with pytest.raises(ValueError, match="instrumented already"):
        instrument(huey, events=held(retries, password))


def of_a_sentinel(port: int, service: str) -> RedisEventEmitter:
    sentinel = Sentinel([("127.0.0.1", 1), ("127.0.0.1", port)])
    return RedisEventEmitter(client=sentinel.master_for(service))


def test_a_second_emitter_of_the_same_sentinels_service_is_alike(huey):
    first = instrument(huey, events=of_a_sentinel(2, "jobs"))

    assert instrument(huey, events=of_a_sentinel(2, "jobs")) is first


@pytest.mark.parametrize(("port", "service"), [(3, "jobs"), (2, "mail")])
def test_a_second_emitter_of_another_sentinels_service_is_refused(huey, port, service):
    instrument(huey, events=of_a_sentinel(2, "jobs"))

    with pytest.raises(ValueError, match="instrumented already"):
        instrument(huey, events=of_a_sentinel(port, service))


def test_what_a_second_call_names_may_be_what_is_so_by_default(huey):
    first = instrument(huey)

    again = instrument(huey, channel="my-app", registry=REGISTRY)

    assert again is first


def test_disabled_a_wrong_url_in_the_environment_stops_nobody(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    monkeypatch.setenv("HUEY_OTEL_EVENTS", "redis://host:99999/0")

    assert repr(instrument(huey)).endswith(": off, HUEY_OTEL_DISABLED is set>")


def test_disabled_a_second_call_returns_the_same_until_it_is_undone(huey, monkeypatch):
    monkeypatch.setenv("HUEY_OTEL_DISABLED", "1")
    first, second = instrument(huey), instrument(huey)
    monkeypatch.delenv("HUEY_OTEL_DISABLED")
    live = instrument(huey)
    first.uninstrument()

    assert second is first
    assert live is not first
    assert isinstance(huey.storage, ObservedStorage)
    assert instrument(huey) is live


@pytest.mark.parametrize(
    "value", [SecretURL(), [SecretURL()], frozenset([SecretURL()])]
)
def test_no_password_of_a_value_is_in_an_error(huey, value):
    with pytest.raises(TypeError, match="events=<") as refusal:
        instrument(huey, events=value)

    assert "secret" not in str(refusal.value)


def test_a_wrong_port_is_said_beside_a_password(huey):
    with pytest.raises(ValueError, match="Port out of range 0-65535") as refusal:
        instrument(huey, events="redis://user:secret@host:99999/0")

    assert "secret" not in str(refusal.value)


def test_an_address_of_ipv6_is_shown_as_it_can_be_used():
    emitter = RedisEventEmitter(url="redis://[::1]:6380/0")

    assert emitter.address == "redis://[::1]:6380"
    assert RedisEventEmitter(url=emitter.address).address == emitter.address
