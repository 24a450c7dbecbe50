"""What threads do while their huey is instrumented and uninstrumented."""

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from huey import MemoryHuey
from huey.api import Huey
from prometheus_client import CollectorRegistry

import huey_otel
from huey_otel import Instrumentation, instrument
from tests.support.interruptions import Interruption
from tests.support.recorded import LATER, Drain
from tests.support.waiting import wait_until

HOOKS = f"{huey_otel.__path__[0]}/_hooks/"
THREADS = 4
SWAPS = 15


class Uninstrument(Interruption):
    """Lets *instrumentation* be undone before line *at* of our hooks."""

    def __init__(self, at: int, instrumentation: Instrumentation) -> None:
        hooks = "enqueueing", "executing", "huey", "consumer", "serializer"
        super().__init__(
            at, None, *(f"_hooks/{name}" for name in hooks), "_tasks/context"
        )
        self._instrumentation = instrumentation

    def _happens(self, frame: object) -> None:
        self._instrumentation.uninstrument()


def instrumented(huey: Huey) -> Instrumentation:
    return instrument(huey, registry=CollectorRegistry(), metrics_port=None)


class Work:
    """A huey and all that its users and its consumer do with it, once."""

    def __init__(self) -> None:
        self.huey: Any = MemoryHuey("my-app")
        self.ran: list[str] = []

        @self.huey.task(retries=1, context=True)
        def fail_first(task: Any = None) -> None:
            self.ran.append("fail_first")
            if task.retries:
                raise ValueError

        @self.huey.task()
        def later() -> None:
            self.ran.append("later")

        @self.huey.task()
        def member(_previous: object = None) -> str:
            self.ran.append("member")
            return "done"

        @self.huey.periodic_task(lambda _: True)
        def each_minute() -> None: ...

        self.fail_first, self.later, self.member = fail_first, later, member

    def do(self) -> None:
        huey = self.huey
        self.fail_first()
        self.later.schedule(delay=60)
        huey.enqueue(self.member.s().then(self.member))
        chord = getattr(sys.modules["huey.api"], "chord", None)
        if chord is not None:
            huey.enqueue(chord([self.member.s(), self.member.s()], self.member.s()))
        assert Drain(huey)() == []
        assert Drain(huey).ripe() == []
        huey.read_periodic(LATER)
        huey.serializer = huey.serializer
        consumer = huey.create_consumer(workers=1, periodic=False)
        self.later()
        worker, _ = consumer.worker_threads[0]
        worker.initialize()
        worker.loop()
        huey.notify_interrupted_tasks()


@pytest.mark.skipif(
    not hasattr(MemoryHuey(), "_timeout_handler"),
    reason="each instrument() looks at all objects for a consumer of huey 2",
)
def test_an_uninstrument_at_any_line_of_a_hook_changes_nothing(losses: Any):
    bare = Work()
    bare.do()
    at, interrupted = 0, True
    while interrupted:
        work = Work()
        instrumentation = instrumented(work.huey)
        with Uninstrument(at, instrumentation) as meanwhile:
            work.do()
        interrupted = meanwhile.happened
        instrumentation.uninstrument()

        assert (work.ran, type(work.huey)) == (bare.ran, MemoryHuey), at
        assert work.huey._tasks_in_flight == set(), at
        assert dict(losses.counts()) == {}, at
        at += 1
    assert at > 100


def give_way(frame: FrameType, event: str, _arg: object) -> Any:
    """Let other threads go on before each line of our hooks: a trace function."""
    if not frame.f_code.co_filename.startswith(HOOKS):
        return None
    if event == "line":
        time.sleep(0)
    return give_way


@pytest.fixture
def giving_way() -> Iterator[None]:
    """The threads that are started now run like that."""
    before = threading.gettrace()
    threading.settrace(give_way)
    yield
    threading.settrace(before)


@pytest.mark.usefixtures("giving_way")
def test_what_threads_enqueue_meanwhile_is_executed_once(
    losses: Any, caplog: pytest.LogCaptureFixture
):
    huey: Any = MemoryHuey("my-app", results=False)
    sent, ran, raised = [], [], []
    over = threading.Event()

    @huey.task()
    def send(number: object) -> None:
        ran.append(number)

    def produce(thread: int) -> None:
        for number in itertools.count():
            if over.is_set():
                return
            try:
                sent.append((thread, number))
                send((thread, number))
                task = huey.dequeue()
                if task is not None:
                    huey.execute(task)
            except BaseException as error:
                raised.append(error)
                raise

    consumer = huey.create_consumer(workers=2, periodic=False, max_delay=0.01)
    consumer.start()
    threads = [threading.Thread(target=produce, args=(one,)) for one in range(THREADS)]
    for thread in threads:
        thread.start()
    for _ in range(SWAPS):
        instrumented(huey).uninstrument()
    over.set()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(ran) == len(sent))
    consumer.stop(graceful=True)

    errors = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert (raised, errors, dict(losses.counts())) == ([], [], {})
    assert sorted(ran) == sorted(sent)
    assert huey._tasks_in_flight == set()
