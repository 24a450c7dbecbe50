"""The relay across forks: what workers write is handled by the main process, once."""

import os
import threading
import time
from collections import Counter
from multiprocessing import get_context
from types import SimpleNamespace

import pytest

from huey_otel._otel.span_counts import SPANS
from huey_otel._relay.relay import Relay, Route, Routes
from huey_otel._safety import forks
from huey_otel._safety.forks import EXCLUSION
from huey_otel._wire.record import Source
from tests.support.forks import fork, open_descriptors
from tests.support.relays import end, gone, record, relay_threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

FORK = get_context("fork")


def exit_unless(condition):
    if not condition:
        os._exit(9)


def test_what_a_child_sends_is_handled_by_its_parent(relay, got):
    relay.open_pipe()

    def child():
        exit_unless(relay.forked)
        for key in range(1_000):
            relay.send(record("started", key))
        exit_unless(relay.flush(5.0))

    process = fork(child)
    code = process.join()
    relay.flush(5.0)

    assert code == 0
    assert got.records == [
        record("started", key, pid=process.pid) for key in range(1_000)
    ]
    assert relay.forked is False


def test_a_child_that_was_forked_next_to_the_thread(relay, got):
    relay.open_pipe()
    relay.send(record("started", 1))
    relay.flush(5.0)

    code = fork(lambda: relay.send(record("started", 2))).join()
    relay.flush(5.0)

    assert code == 0
    assert got.steps == [("started", 1), ("started", 2)]


def test_a_grandchild_sends_to_the_same_parent(relay, got):
    relay.open_pipe()

    def child():
        relay.send(record("started", 1))
        exit_unless(fork(lambda: relay.send(record("started", 2))).join() == 0)

    code = fork(child).join()
    relay.flush(5.0)

    assert code == 0
    assert got.steps == [("started", 1), ("started", 2)]


def test_a_child_without_a_pipe_has_a_relay_of_its_own(relay, got):
    relay.send(record("started", 1))
    relay.flush(5.0)

    def child():
        exit_unless(not relay.forked and relay_threads() == [])
        relay.send(record("started", 2))
        exit_unless(relay.flush(5.0))
        exit_unless(got.steps == [("started", 1), ("started", 2)])

    code = fork(child).join()

    assert code == 0
    assert got.steps == [("started", 1)]


def test_what_waits_in_the_parent_is_handled_there_alone(
    relay, got, losses, little_patience
):
    relay.open_pipe()
    got.delay = threading.Event()
    for key in range(3):
        relay.send(record("started", key))
    # Bounded, although a sink is busy.
    code = fork(lambda: exit_unless(relay.flush(1.0))).join()
    got.delay.set()
    relay.flush(5.0)

    assert code == 0
    assert got.steps == [("started", key) for key in range(3)]


@pytest.fixture
def little_patience(monkeypatch):
    monkeypatch.setattr(forks, "_PATIENCE", 0.2)


@pytest.mark.without_coverage
def test_no_child_inherits_the_lock_of_a_sink(relay, got):
    lock = threading.Lock()

    def deliver(_record):
        with lock:
            time.sleep(0.0001)

    relay._routes = SimpleNamespace(deliver=deliver)
    relay.open_pipe()
    stop = threading.Event()

    def load():
        key = 0
        while not stop.is_set():
            key += 1
            relay.send(record("started", key))
            time.sleep(0.0002)

    loading = threading.Thread(target=load)
    loading.start()
    children = [fork(lambda: exit_unless(lock.acquire(timeout=1.0))) for _ in range(20)]
    codes = [child.join() for child in children]
    stop.set()
    loading.join()
    relay.flush(5.0)

    assert codes == [0] * 20


def test_a_sink_that_blocks_holds_up_a_fork_for_a_bounded_time(
    relay, got, losses, little_patience
):
    got.delay = threading.Event()
    relay.send(record("started", 1))
    wait_until(lambda: bool(got.threads))
    began = time.monotonic()

    code = fork(lambda: exit_unless(EXCLUSION.hold())).join()
    waited = time.monotonic() - began
    got.delay.set()

    assert code == 0
    assert waited > 0.19


def test_the_loss_of_a_killed_child_comes_behind_all_that_it_wrote(got):
    class Sink:
        def __call__(self, record, _source):
            got.deliver(record)

    routes = Routes()
    routes.add(1, Route(Source(queue="q", host="here"), (Sink(),)))
    relay = Relay(routes)
    relay.open_pipe()
    ready, told = os.pipe()

    def child():
        for key in range(1, 2_000):
            for status in ("dequeued", "started", "ended"):
                relay.send(record(status, key))
        relay.send(record("dequeued", 2_000))
        relay.send(record("started", 2_000))
        relay.send(record("dequeued", 2_001))
        relay.flush(5.0)
        os.write(told, b"x")
        while True:
            time.sleep(1)

    process = FORK.Process(target=child, daemon=True)
    process.start()
    relay.watch(process, gone(process.pid))
    relay.watch(process, gone(process.pid))
    os.read(ready, 1)
    process.kill()
    process.join()
    relay.flush(5.0)
    wait_until(lambda: got.steps[-1:] == [("lost", 2_001)])
    # huey names it once more before it replaces it.
    relay.watch(process, gone(process.pid))
    relay.flush(5.0)

    assert got.steps[-6:] == [
        ("dequeued", 2_000),
        ("started", 2_000),
        ("dequeued", 2_001),
        ("gone", 0),
        ("lost", 2_000),
        ("lost", 2_001),
    ]
    assert Counter(status for status, _ in got.steps) == {
        "dequeued": 2_001,
        "started": 2_000,
        "ended": 1_999,
        "gone": 1,
        "lost": 2,
    }
    assert len(routes._inflight) == 0
    assert relay._workers.sentinels() == []
    end(relay)
    os.close(ready)
    os.close(told)


def test_spans_of_a_killed_worker_are_lost_but_for_what_it_told(relay, got, losses):
    relay.open_pipe()
    ready, told = os.pipe()

    def child():
        for _ in range(10):
            next(SPANS.here.ended)
        SPANS.here.exported(5)
        for number in (2, 1):
            SPANS.here.counted(number)
            losses.count("spans", number, why="w")
            # The child reports the first loss, and is killed before the second.
            if number == 2:
                relay.send(record("started", 1))
        os.write(told, b"x")
        while True:
            time.sleep(1)

    process = FORK.Process(target=child, daemon=True)
    SPANS.prepare(process)
    process.start()
    relay.watch(process, gone(process.pid))
    os.read(ready, 1)
    wait_until(lambda: losses.counts() == {"spans": 2})
    process.kill()
    process.join()
    wait_until(lambda: got.steps[-1:] == [("gone", 0)])

    assert losses.counts() == {"spans": 5}
    os.close(ready)
    os.close(told)


def test_what_the_thread_of_an_idle_child_loses_is_known_in_time(relay, got, losses):
    """Also of a child that such a child has forked."""
    relay.open_pipe()
    wait_for_end, end_all = os.pipe()

    def lose(number):
        os.close(end_all)
        losing = threading.Thread(
            target=losses.count, args=("spans", number), kwargs={"why": "w"}
        )
        losing.start()
        os.read(wait_for_end, 1)

    def child():
        for _ in range(10):
            next(SPANS.here.ended)
        SPANS.here.counted(3)
        grandchild = fork(lambda: lose(20))
        lose(3)
        grandchild.join()
        os.kill(os.getpid(), 9)

    process = FORK.Process(target=child, daemon=True)
    SPANS.prepare(process)
    process.start()
    wait_until(lambda: losses.counts() == {"spans": 23}, seconds=15)
    os.close(end_all)
    process.join()
    SPANS.gone(process.pid)

    # Of the ten that the worker had ended, three were told.
    assert losses.counts() == {"spans": 30}
    assert got.records == []
    os.close(wait_for_end)


def test_a_death_is_noticed_while_nothing_else_happens(relay, got):
    relay.open_pipe()
    process = FORK.Process(target=lambda: os.kill(os.getpid(), 9), daemon=True)
    process.start()

    relay.watch(process, gone(process.pid))

    wait_until(lambda: got.steps == [("gone", 0)])
    process.join()


@pytest.mark.without_coverage
def test_descriptors_do_not_add_up_with_forks(relay, got):
    relay.open_pipe()
    relay.send(record("started", 0))
    relay.flush(5.0)
    before = open_descriptors()

    def child():
        # The child has closed the parent's waker and the read end of the pipe.
        exit_unless(len(open_descriptors()) <= len(before))
        relay.send(record("started", 1))
        exit_unless(relay.flush(5.0))

    codes = [fork(child).join() for _ in range(50)]
    relay.flush(5.0)

    assert codes == [0] * 50
    assert len(open_descriptors()) <= len(before)
    assert len(got.records) == 51


def test_a_child_closes_what_only_the_parent_reads(relay):
    relay.open_pipe()
    relay.flush(5.0)
    end = relay._pipe.read_end

    code = fork(lambda: exit_unless(str(end) not in open_descriptors())).join()

    assert code == 0


@pytest.mark.without_coverage
def test_a_child_that_is_behind_loses_no_end(relay, got, losses, monkeypatch, tmp_path):
    summing = tmp_path / "summing"
    summing.touch()
    monkeypatch.setattr("huey_otel._relay.writer.BACKLOG", 20_000)
    relay.open_pipe()
    relay.flush(5.0)
    got.delay = threading.Event()
    relay.send(record("checking-periodic", 0))
    wait_until(lambda: bool(got.threads))
    attempts = 20_000
    success = {"outcome": "success", "final": "success", "duration": 0.5}

    def child():
        for key in range(attempts):
            announced = relay.send(record("started", key, wait=0.0))
            if not announced and summing.stat().st_size == 0:
                summing.write_text("yes")
            relay.send(record("ended", key, **success), must=announced)
        exit_unless(relay.flush(20.0))

    process = fork(child)
    wait_until(lambda: summing.stat().st_size > 0)
    got.delay.set()
    code = process.join()
    relay.flush(5.0)

    counted = Counter(status for status, _ in got.steps)
    keys = [key for status, key in got.steps if status == "started"]
    ends = [key for status, key in got.steps if status == "ended"]
    summed = Counter()
    for r in got.sums:
        summed[r.status] += r.extra["number"]
    assert code == 0
    assert counted["started"] + summed["started"] == attempts
    assert counted["ended"] + summed["ended"] == attempts
    assert summed["started"] > 0
    assert set(keys) <= set(ends)
    assert losses.counts() == {"relay": summed["started"]}
