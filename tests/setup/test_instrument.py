"""instrument(): what it swaps, and that all of it can be undone."""

import pytest
from huey import FileHuey, MemoryHuey, SqliteHuey
from huey.api import Huey
from huey.consumer import Consumer, Worker
from huey.serializer import Serializer
from huey.storage import MemoryStorage

from huey_otel import (
    Instrumentation,
    instrument,
    uninstrument,
)
from huey_otel._hooks.consumer import ObservedConsumer, ObservedWorker
from huey_otel._hooks.huey import ObservedHuey
from huey_otel._hooks.serializer import ObservedSerializer
from huey_otel._hooks.storage import ObservedStorage
from tests.support.recorded import Drain, Recorded

ADDRESS = "redis://127.0.0.1:1/0"


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
    seen = Recorded(any_huey)
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


def test_uninstrument_leaves_any_huey_as_it_was(any_huey):
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


def test_losses_are_those_of_the_queue_and_of_the_process(huey, losses):
    instrumentation = instrument(huey)

    losses.count("feed_full", 3, why="a test", queue=huey.name)
    losses.count("feed_full", 4, why="a test", queue="another")
    losses.count("relay", 5, why="a test")

    assert instrumentation.dropped == {"feed_full": 3, "relay": 5}


def test_the_new_class_has_the_names_of_the_old_one(huey):
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


def test_a_huey_can_be_instrumented_again(huey, drain):
    first = instrument(huey)
    first.uninstrument()
    seen = Recorded(huey)

    @huey.task()
    def send(): ...

    send()
    drain()

    assert seen.instrumentation is not first
    assert seen.steps == [("started", 0, 1), ("finished", 0, 1)]


def test_a_second_uninstrument_does_nothing(huey):
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


def test_an_instrumentation_is_a_context_manager(huey):
    with instrument(huey) as instrumentation:
        inside = type(huey)

    assert isinstance(instrumentation, Instrumentation)
    assert issubclass(inside, ObservedHuey)
    assert type(huey) is MemoryHuey


def test_nothing_is_recorded_after_uninstrument(huey, seen, drain):
    @huey.task()
    def send(): ...

    uninstrument(huey)
    send()
    drain()

    assert seen._records == []


def test_a_task_may_uninstrument_its_own_huey(huey, seen, drain):
    @huey.task()
    def send():
        uninstrument(huey)
        return 1

    result = send()
    escaped = drain()

    assert escaped == []
    assert result() == 1
    assert type(huey) is MemoryHuey


def test_the_repr_says_where_telemetry_goes(huey, monkeypatch):
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


def test_without_tracebacks_an_event_has_only_the_exceptions_class(huey, drain):
    seen = Recorded(huey, tracebacks=False)

    @huey.task()
    def send():
        raise ValueError("secret")

    send()
    drain()

    event = seen.published[-1]
    assert (event["traceback"], event["exception"]) == (None, "ValueError")
    assert "secret" not in repr(seen.records)


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
