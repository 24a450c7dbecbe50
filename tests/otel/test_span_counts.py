"""Counts of spans: those that a killed worker did not deliver, and no others."""

import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from huey_otel._otel.span_counts import SPANS, SpanCounts
from huey_otel._safety.losses import Losses
from tests.support.forks import fork

pytestmark = pytest.mark.once

FORK = get_context("fork")

Start = Callable[[Callable[[], object]], BaseProcess]


def end(number: int) -> None:
    for _ in range(number):
        next(SPANS.here.ended)


def kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def prepared() -> Iterator[Start]:
    """Runs a function in a worker that was prepared, to its end."""

    def run(body: Callable[[], object]) -> BaseProcess:
        process = FORK.Process(target=body, daemon=True)
        SPANS.prepare(process)
        SPANS.prepare(process)
        process.start()
        process.join(10)
        assert process.exitcode is not None
        return process

    yield run
    assert SPANS._workers == {}


def test_counts_are_exact_with_many_threads():
    counts = SpanCounts(mmap.mmap(-1, 24))
    interval = sys.getswitchinterval()

    def count() -> None:
        for _ in range(20_000):
            next(counts.ended)
        counts.exported(5_000)
        counts.counted(1_000)

    threads = [threading.Thread(target=count) for _ in range(8)]
    try:
        sys.setswitchinterval(1e-6)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert (counts.left, counts.missing) == (8 * 14_000, 8 * 15_000)


def test_what_a_killed_worker_ended_and_did_not_export_is_lost(
    prepared, losses: Losses, caplog
):
    def body() -> None:
        end(7)
        SPANS.here.exported(2)
        kill_myself()

    worker = prepared(body)
    SPANS.gone(worker.pid)
    SPANS.gone(worker.pid)

    assert losses.counts() == {"spans": 5}
    assert caplog.messages == [
        "a worker died before it had heard that 5 spans arrived (counted as spans)"
    ]


def test_what_it_had_reported_itself_is_not_counted_twice(prepared, losses: Losses):
    def body() -> None:
        end(7)
        SPANS.here.exported(2)
        # Two failed; the kill comes before the worker has reported the second.
        SPANS.here.counted(2)
        kill_myself()

    worker = prepared(body)
    SPANS.told(worker.pid, 1)
    SPANS.gone(worker.pid)

    assert losses.counts() == {"spans": 4}


def test_a_worker_that_delivered_all_has_lost_nothing(prepared, losses: Losses):
    def body() -> None:
        end(7)
        SPANS.here.exported(3)
        SPANS.here.counted(SPANS.here.left)

    worker = prepared(body)
    SPANS.told(worker.pid, 4)
    SPANS.gone(worker.pid)

    assert losses.counts() == {}


def test_a_worker_begins_at_0_whatever_its_parent_has_ended(
    prepared, losses: Losses, monkeypatch
):
    monkeypatch.setattr(SPANS, "here", SpanCounts())
    end(3)

    worker = prepared(kill_myself)
    SPANS.gone(worker.pid)

    assert losses.counts() == {}
    assert SPANS.here.left == 3


def test_children_of_a_worker_and_of_tasks_count_for_themselves(
    prepared, losses: Losses
):
    def grandchild() -> None:
        assert SPANS.here.left == 0
        end(100)
        assert SPANS.here.left == 100

    def body() -> None:
        end(3)
        assert fork(grandchild).join() == 0
        assert SPANS.here.left == 3
        end(1)
        kill_myself()

    worker = prepared(body)
    assert worker.exitcode == -signal.SIGKILL
    assert fork(grandchild).join() == 0
    other = FORK.Process(target=grandchild)
    other.start()
    other.join()
    SPANS.gone(other.pid)
    SPANS.gone(worker.pid)

    assert other.exitcode == 0
    assert losses.counts() == {"spans": 4}


def test_workers_that_are_forked_together_do_not_share(losses: Losses):
    def body(number: int) -> Callable[[], None]:
        def run() -> None:
            end(number)
            kill_myself()

        return run

    workers = [FORK.Process(target=body(10**place)) for place in range(4)]
    for worker in workers:
        SPANS.prepare(worker)
    threads = [threading.Thread(target=worker.start) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.join()
    counted = []
    for worker in workers:
        SPANS.gone(worker.pid)
        counted.append(losses.counts().get("spans"))

    assert counted == [1, 11, 111, 1111]
    assert SPANS._workers == {}


def test_workers_that_die_before_they_deliver_anything_are_one_streak(
    prepared, losses: Losses, caplog
):
    def dies() -> None:
        end(1)
        kill_myself()

    def delivers_and_dies() -> None:
        end(2)
        SPANS.here.exported(1)
        kill_myself()

    def ends() -> None:
        pass

    for body in (dies, dies, dies, delivers_and_dies, dies, ends, dies, dies):
        SPANS.gone(prepared(body).pid)

    assert losses.counts() == {"spans": 7}
    assert len(caplog.messages) == 3


def test_a_worker_that_was_closed_breaks_nothing(losses: Losses):
    worker = FORK.Process(target=end, args=(1,))
    SPANS.prepare(worker)
    worker.start()
    worker.join()
    pid = worker.pid
    worker.close()

    SPANS.gone(pid)

    assert losses.counts() == {"internal": 1}
    SPANS._workers.clear()


def test_what_a_worker_tells_before_its_pid_is_known_is_not_counted_twice(losses):
    read, written = os.pipe()

    def body() -> None:
        end(5)
        os.write(written, b"x")
        kill_myself()

    def forking(started: BaseProcess) -> object:
        made = popen(started)
        os.read(read, 1)
        # As the relay's thread does, while the main one has not come back yet.
        SPANS.told(made.pid, 2)
        return made

    process: Any = FORK.Process(target=body, daemon=True)
    popen, process._Popen = process._Popen, forking
    SPANS.prepare(process)
    process.start()
    process.join()
    SPANS.gone(process.pid)

    assert losses.counts() == {"spans": 3}
    os.close(read)
    os.close(written)
