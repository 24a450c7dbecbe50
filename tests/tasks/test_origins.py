"""Where a message comes from, as `enqueued` says it."""

from importlib.metadata import version

import huey as huey_package
import pytest
from huey import MemoryHuey, crontab

from tests.support.recorded import EARLIER, Recorded

needs_chords = pytest.mark.skipif(
    not hasattr(huey_package, "chord"), reason="huey has no chords"
)


@pytest.fixture
def seen(huey):
    return Recorded(huey, publish_enqueued=True)


def test_a_call(huey, seen):
    @huey.task()
    def send(): ...

    send()

    assert seen.steps == [("enqueued", 0, 1)]
    assert seen.origins == [("send", "call")]


def test_a_call_is_not_published_by_default(huey):
    seen = Recorded(huey)

    @huey.task()
    def send(): ...

    send()

    assert seen.events == []


def test_a_call_inside_a_task(huey, seen, drain):
    @huey.task()
    def inner(): ...

    @huey.task()
    def outer():
        inner()

    outer()
    drain()

    assert seen.origins == [("outer", "call"), ("inner", "call")]


def test_a_retry(huey, seen, drain):
    @huey.task(retries=1)
    def send():
        raise ValueError("no")

    send()
    drain()

    assert seen.origins == [("send", "call"), ("send", "retry")]
    assert [e["attempt"] for e in seen.published if e["status"] == "enqueued"] == [
        1,
        2,
    ]


def test_a_delayed_retry(huey, seen, drain):
    @huey.task(retries=1, retry_delay=60)
    def send():
        raise ValueError("no")

    send()
    drain()
    drain.ripe()

    assert seen.origins == [("send", "call"), ("send", "scheduled")]
    assert [e["attempt"] for e in seen.published if e["status"] == "enqueued"] == [
        1,
        2,
    ]


def test_a_ripe_task(huey, seen, drain):
    @huey.task()
    def send(): ...

    send.schedule(delay=60)
    drain()
    drain.scheduler()

    assert seen.origins == [("send", "call"), ("send", "scheduled")]
    assert seen.published[-1]["late"] == 0.0


def test_a_periodic_task(huey, seen):
    @huey.periodic_task(crontab())
    def nightly(): ...

    for task in huey.read_periodic(EARLIER):
        huey.enqueue(task)

    assert seen.steps == [
        ("checking-periodic", None, None),
        ("scheduling-periodic", 0, 1),
        ("enqueued", 0, 1),
    ]
    assert seen.origins == [("nightly", "periodic")]


def test_a_periodic_task_that_is_called(huey, seen):
    @huey.periodic_task(crontab())
    def nightly(): ...

    for task in huey.read_periodic(EARLIER):
        huey.enqueue(task)
    nightly()

    assert seen.origins == [("nightly", "periodic"), ("nightly", "call")]


def test_a_next_stage_and_an_error_handler(huey, seen, drain):
    @huey.task()
    def first():
        return 1

    @huey.task()
    def second(_number):
        raise ValueError("no")

    @huey.task()
    def handler(_error): ...

    stage = second.s().error(handler)
    huey.enqueue(first.s().then(stage))
    drain()

    assert seen.origins == [
        ("first", "call"),
        ("second", "pipeline"),
        ("handler", "pipeline"),
    ]


def test_a_call_from_a_hook_and_from_a_receiver(huey, seen, drain):
    @huey.task()
    def outer(): ...

    @huey.task()
    def inner(): ...

    def call(_task, *_):
        if _task.name == "outer":
            inner()

    def received(_signal, task, *_):
        call(task)

    huey.pre_execute("before")(call)
    huey.post_execute("after")(call)
    huey.signal("executing", "complete")(received)

    outer()
    drain()

    assert seen.origins == [("outer", "call")] + [("inner", "call")] * 4


def test_origins_in_immediate_mode():
    huey = MemoryHuey("my-app", immediate=True)
    seen = Recorded(huey, publish_enqueued=True)

    @huey.task()
    def inner(): ...

    @huey.task(retries=1)
    def outer():
        inner()
        raise ValueError("no")

    outer()

    assert seen.origins == [
        ("outer", "call"),
        ("inner", "call"),
        ("outer", "retry"),
        ("inner", "call"),
    ]


@needs_chords
def test_a_chord(huey, seen, drain):
    @huey.task()
    def member():
        return 1

    @huey.task()
    def callback(_numbers): ...

    from huey.api import chord

    huey.enqueue(chord([member.s(), member.s()], callback.s()))
    drain()

    assert seen.origins == [
        ("member", "call"),
        ("member", "call"),
        ("callback", "pipeline"),
    ]


@pytest.mark.skipif(
    tuple(map(int, version("huey").split(".")[:3])) < (3, 5, 3),
    reason="huey enqueues the callback of an empty chord from 3.5.3 on",
)
def test_an_empty_chord(huey, seen):
    @huey.task()
    def callback(_numbers): ...

    from huey.api import chord

    huey.enqueue(chord([], callback.s()))

    assert seen.origins == [("callback", "call")]
