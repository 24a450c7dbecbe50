"""What is stuck in a consumer with threads, and what only looks like it."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from huey import MemoryHuey
from huey.consumer import Consumer, Scheduler, Worker
from prometheus_client import CollectorRegistry

from huey_otel import _names as n
from huey_otel import instrument
from huey_otel._prometheus.consumers import Limits
from huey_otel._safety.losses import Losses
from huey_otel._tasks import stuck
from huey_otel._tasks.health import Health
from tests.support.metrics import page
from tests.support.waiting import wait_until

Start = Callable[..., Health]

SHORT = Limits(0.2)
LONG = Limits(600.0, 600.0)
FINE = {
    f'huey_consumer_stuck{{queue="my-app",reason="{reason}"}}': 0.0
    for reason in ("dequeue", "worker", "scheduler")
}


class Holding(MemoryHuey):
    """A huey of which one part hangs until it is `freed`, that with the name `held`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.held = ""
        self.hangs = threading.Event()
        self.freed = threading.Event()

    def pass_by(self, part: str) -> None:
        if part == self.held:
            self.hangs.set()
            self.freed.wait(60)

    def hold(self, part: str) -> None:
        """Return when *part* hangs."""
        self.held = part
        assert self.hangs.wait(30)

    def dequeue(self) -> Any:
        self.pass_by("dequeue")
        return super().dequeue()

    def read_schedule(self, *args: Any) -> Any:
        self.pass_by("schedule")
        return super().read_schedule(*args)


class Weary(Worker):
    """A worker that may hang while it sleeps."""

    def sleep(self) -> None:
        self.huey.pass_by("sleep")
        super().sleep()


@pytest.fixture
def huey() -> Holding:
    return Holding("my-app")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def start(
    huey: Holding, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Starts a consumer, whose main loop has a thread of its own; its health."""
    monkeypatch.setattr(Consumer, "worker_class", Weary)
    monkeypatch.setattr(stuck, "_SLEEP", 0.2)
    monkeypatch.setattr(stuck, "_APART", 0.2)
    monkeypatch.setattr(Consumer, "_set_signal_handlers", lambda _: None)
    started: list[tuple[Consumer, threading.Thread]] = []

    def begin(workers: int = 1, **options: Any) -> Health:
        seen = instrument(huey, registry=registry, metrics_port=None, **options)
        consumer = huey.create_consumer(workers=workers, max_delay=0.1)
        thread = threading.Thread(target=consumer.run)
        thread.start()
        started.append((consumer, thread))
        life = seen._observation.consumer  # type: ignore[union-attr]  # it is there
        wait_until(lambda: life._health is not None)
        assert life._health is not None
        return life._health

    yield begin
    huey.freed.set()
    for consumer, thread in started:
        consumer.stop_flag.set()
        for each in (
            thread,
            consumer.scheduler,
            *(w for _, w in consumer.worker_threads),
        ):
            each.join()


@pytest.fixture
def work(huey: Holding) -> Callable[[], object]:
    """Enqueues a task that does nothing."""
    made: Callable[[], object] = huey.task(name="work")(int)
    return made


def let_pass(seconds: float) -> None:
    """Let *seconds* pass, which are what is tested."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() > until)


def said(found: dict[str, str]) -> dict[str, str]:
    """*found* without its numbers of seconds."""
    return {
        reason: " ".join("N" if word.isdecimal() else word for word in text.split())
        for reason, text in found.items()
    }


@pytest.mark.parametrize(
    ("part", "found"),
    [
        (
            "dequeue",
            {"dequeue": "hangs in dequeue, while messages wait: Worker-1 for N s"},
        ),
        (
            "sleep",
            {"worker": "does not look for messages any more: Worker-1 for N s"},
        ),
        (
            "schedule",
            {"scheduler": "does not look at the schedule any more: Scheduler for N s"},
        ),
    ],
)
def test_part_that_hangs_is_stuck_until_it_goes_on(
    huey: Holding,
    work: Callable[[], object],
    start: Start,
    registry: CollectorRegistry,
    part: str,
    found: dict[str, str],
) -> None:
    health = start(stuck_after=0.2)
    before = page(registry, n.CONSUMER_STUCK)

    huey.hold(part)
    work()
    wait_until(lambda: bool(health.stuck(SHORT)))
    stuck_now = health.stuck(SHORT), page(registry, n.CONSUMER_STUCK)
    huey.freed.set()

    (reason,) = found
    shown = f'huey_consumer_stuck{{queue="my-app",reason="{reason}"}}'
    assert before == FINE
    assert (said(stuck_now[0]), stuck_now[1]) == (found, FINE | {shown: 1.0})
    wait_until(lambda: health.stuck(SHORT) == {})
    assert page(registry, n.CONSUMER_STUCK) == FINE


def test_scheduler_that_hangs_before_its_first_look_is_stuck(
    huey: Holding, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scheduler, "initialize", lambda _: huey.pass_by("start"))
    huey.held = "start"
    health = start()

    wait_until(lambda: bool(health.stuck(SHORT)))

    assert said(health.stuck(SHORT)) == {
        "scheduler": "does not look at the schedule any more: Scheduler for N s"
    }


def test_worker_that_hangs_in_dequeue_is_not_stuck_while_nothing_waits(
    huey: Holding, start: Start
) -> None:
    health = start()
    huey.hold("dequeue")
    let_pass(1.0)

    assert health.stuck(SHORT) == {}


def test_worker_that_goes_on_after_the_storage_has_answered_is_not_stuck(
    huey: Holding, work: Callable[[], object], start: Start
) -> None:
    health = start()
    huey.hold("dequeue")
    work()
    let_pass(0.5)

    def answer() -> int:
        # Workers get theirs a moment later.
        threading.Timer(0.05, huey.freed.set).start()
        return 1

    huey.storage.queue_size = answer

    assert health.stuck(SHORT) == {}


def test_storage_that_does_not_answer_makes_nobody_stuck(
    huey: Holding, work: Callable[[], object], start: Start, losses: Losses
) -> None:
    health = start()
    huey.hold("dequeue")
    work()
    wait_until(lambda: bool(health.stuck(SHORT)))

    def hang() -> int:
        huey.freed.wait()
        return 1

    huey.storage.queue_size = hang
    wait_until(lambda: health.stuck(SHORT) == {})

    assert health.stuck(SHORT) == {}
    assert not huey.freed.is_set()


def test_storage_is_asked_once_between_two_looks_whoever_asks_for_what(
    huey: Holding, work: Callable[[], object], start: Start
) -> None:
    health = start()
    huey.hold("dequeue")
    work()
    size, asked = huey.storage.queue_size, []

    def noted() -> int:
        asked.append(time.monotonic())
        return int(size())

    huey.storage.queue_size = noted
    until = time.monotonic() + 1.0

    def ask(share: float) -> None:
        while time.monotonic() < until:
            health.stuck(Limits(share + time.monotonic() % 0.1))

    threads = [threading.Thread(target=ask, args=(one / 10,)) for one in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(asked) > 1
    assert min(b - a for a, b in itertools.pairwise(asked)) >= 0.2


def test_all_workers_in_one_task_each_are_stuck_where_that_is_asked(
    huey: Holding, start: Start
) -> None:
    wait = huey.task(name="wait")(huey.freed.wait)
    health = start(workers=2)
    busy = Limits(600.0, 0.2)

    wait()
    wait_until(lambda: len(huey) == 0)
    let_pass(0.5)
    one = health.stuck(busy)
    wait()
    wait_until(lambda: bool(health.stuck(busy)))
    both = said(health.stuck(busy))

    assert one == {}
    assert both == {
        "busy": "is in one task, as all workers are: Worker-1 for N s, Worker-2 for N s"
    }
    assert (health.stuck(SHORT), health.stuck(LONG)) == ({}, {})


def test_the_wait_for_its_message_is_not_part_of_a_task(
    huey: Holding, start: Start
) -> None:
    gate = threading.Event()
    task = huey.task(name="wait")(gate.wait)
    health = start()
    huey.hold("dequeue")
    task()
    let_pass(2.0)

    huey.freed.set()
    wait_until(lambda: len(huey) == 0)
    found = health.stuck(Limits(600.0, 1.5))
    gate.set()

    assert found == {}


def test_a_task_that_looks_for_messages_itself_is_a_task(
    huey: Holding, start: Start
) -> None:
    looked = []

    def look() -> None:
        looked.append(huey.dequeue())
        huey.freed.wait(60)

    task = huey.task(name="look")(look)
    health = start()
    task()
    busy = Limits(0.0, 0.2)
    wait_until(lambda: bool(health.stuck(busy)))

    assert looked == [None]
    assert said(health.stuck(busy)) == {
        "busy": "is in one task, as all workers are: Worker-1 for N s"
    }


def test_consumer_without_workers_is_not_stuck(start: Start) -> None:
    health = start(workers=0)
    let_pass(0.5)

    assert health.stuck(Limits(0.2, 0.2)) == {}
