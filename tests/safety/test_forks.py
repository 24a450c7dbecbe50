"""Forks: nothing foreign is locked while one happens, and a child renews its parts."""

import contextlib
import ctypes
import os
import threading
import time

import pytest
from huey import RedisHuey

from huey_otel import instrument
from huey_otel._safety import forks
from huey_otel._safety.forks import (
    EXCLUSION,
    Exclusion,
    in_child,
    look_around,
    several_forks,
)
from huey_otel._safety.losses import LOSSES
from tests.support.forks import fork


class Part:
    """Counts how often it was renewed."""

    def __init__(self):
        self.renewed = 0
        in_child(self.renew)

    def renew(self):
        self.renewed += 1


def test_a_part_is_renewed_in_the_child_alone():
    part = Part()

    code = fork(lambda: exit_unless(part.renewed == 1)).join()

    assert code == 0
    assert part.renewed == 0


def test_a_fork_that_python_was_not_told_of_is_noticed():
    part = Part()

    # As uWSGI does it, here in a child that has no other threads.
    def body():
        pid = ctypes.PyDLL(None).fork()
        if pid:
            _, status = os.waitpid(pid, 0)
            exit_unless(status == 0)
            return
        untold = part.renewed
        look_around()
        look_around()
        os._exit(0 if (untold, part.renewed) == (1, 2) else 9)

    assert fork(body).join() == 0


def exit_unless(condition):
    if not condition:
        os._exit(9)


def test_a_grandchild_is_renewed_again():
    part = Part()

    def body():
        exit_unless(fork(lambda: exit_unless(part.renewed == 2)).join() == 0)

    assert fork(body).join() == 0


def test_a_part_that_cannot_be_renewed_does_not_stop_the_next_one(losses):
    class Broken(Part):
        def renew(self):
            raise OSError("no")

    broken, part = Broken(), Part()

    code = fork(
        lambda: exit_unless(part.renewed == 1 and LOSSES.counts() == {"internal": 1})
    ).join()

    assert code == 0
    assert broken.renewed == 0


def test_a_part_that_was_collected_is_forgotten():
    before = len(forks._renewals)
    for _ in range(100):
        Part()

    in_child(Part().renew)

    assert len(forks._renewals) <= before + 2


@contextlib.contextmanager
def held_elsewhere():
    """Another thread is in the exclusion, until the event is set or at the end."""
    inside = threading.Event()
    let_go = threading.Event()

    def hold():
        with EXCLUSION:
            inside.set()
            let_go.wait(5)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(5)
    yield let_go
    let_go.set()
    holder.join()


def test_a_fork_waits_for_the_exclusion():
    with held_elsewhere() as let_go:
        threading.Timer(0.1, let_go.set).start()
        began = time.monotonic()
        # The child can take it at once: no thread held it at the fork.
        code = fork(lambda: exit_unless(EXCLUSION.hold())).join()
        waited = time.monotonic() - began

    assert code == 0
    assert waited > 0.09


def test_a_fork_comes_next_however_busy_the_others_are():
    stop = threading.Event()
    turns = []
    waited = []

    def work():
        while not stop.is_set():
            with EXCLUSION:
                turns.append(1)
                time.sleep(0.01)

    worker = threading.Thread(target=work)
    worker.start()
    for _ in range(20):
        before = len(turns)
        assert EXCLUSION.hold()
        waited.append(len(turns) - before)
        EXCLUSION.release()
    stop.set()
    worker.join()

    # The other thread may begin its turn between the count and the wish to fork.
    assert sorted(waited)[10] <= 1


def test_no_thread_begins_between_the_first_of_several_forks_and_the_last():
    got = []

    def begin():
        got.append(EXCLUSION.take(0.05))
        if got[-1]:
            EXCLUSION.release()

    def a_thread_begins():
        other = threading.Thread(target=begin)
        other.start()
        other.join()

    with several_forks():
        a_thread_begins()
        code = fork(lambda: exit_unless(EXCLUSION.take(0.0))).join()
        a_thread_begins()
    a_thread_begins()

    assert code == 0
    assert got == [False, False, True]


@pytest.mark.without_coverage
def test_forks_of_two_threads_each_release_their_own():
    def fork_often():
        for _ in range(20):
            codes.append(fork(lambda: exit_unless(EXCLUSION.hold())).join())

    codes = []
    threads = [threading.Thread(target=fork_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == [0] * 60
    assert EXCLUSION.hold()
    EXCLUSION.release()


def test_a_fork_does_not_wait_for_ever(losses, monkeypatch, caplog):
    monkeypatch.setattr(forks, "_PATIENCE", 0.05)
    with held_elsewhere():
        code = fork(lambda: exit_unless(EXCLUSION.hold())).join()
    after = fork(lambda: None).join()

    assert (code, after) == (0, 0)
    assert [record.getMessage() for record in caplog.records] == [
        "a collector or sink held up a fork for 0.05 s,"
        " the child may inherit a lock of it (nothing is lost so far)"
    ]


def test_a_fork_inside_the_exclusion_does_not_wait(monkeypatch):
    monkeypatch.setattr("huey_otel._safety.forks._PATIENCE", 600.0)

    with EXCLUSION:
        code = fork(lambda: exit_unless(EXCLUSION.hold())).join()

    assert code == 0


def test_a_child_does_not_count_the_losses_of_its_parent(losses):
    LOSSES.count("relay", 3, why="w")

    code = fork(lambda: exit_unless(LOSSES.counts() == {})).join()

    assert code == 0
    assert losses.counts() == {"relay": 3}


@pytest.mark.parametrize("times", [1, 3])
def test_the_exclusion_can_be_taken_again_by_its_thread(times):
    exclusion = Exclusion()

    held = [exclusion.hold() for _ in range(times)]
    for _ in held:
        exclusion.release()

    assert held == [True] * times


def test_the_exclusions_of_two_forking_threads_are_not_mixed_up(monkeypatch):
    released = []

    class Held:
        def __init__(self, name):
            self.name = name

        def hold(self):
            return True

        def release(self):
            released.append((self.name, threading.current_thread().name))

    def go(name):
        # Both are in the middle of a fork at once, and the first one ends first.
        forks._before()
        both.wait(5)
        if name == "second":
            first_is_done.wait(5)
        forks._in_parent()
        first_is_done.set()

    class Mine:
        """Whichever thread asks gets its own."""

        def __iter__(self):
            return iter([Held(threading.current_thread().name)])

    monkeypatch.setattr(forks, "_BOTH", Mine())
    both, first_is_done = threading.Barrier(2), threading.Event()
    threads = [
        threading.Thread(target=go, args=(name,), name=name)
        for name in ("first", "second")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert released == [("first", "first"), ("second", "second")]


def test_a_child_is_not_held_up_by_the_pool_of_its_storage():
    huey = RedisHuey("shop", url="redis://127.0.0.1:1")
    instrument(huey, events=None)
    pool = huey.storage.pool
    taken, done = threading.Event(), threading.Event()

    def take() -> None:
        with pool._lock:
            taken.set()
            done.wait(30)

    holder = threading.Thread(target=take)
    holder.start()
    taken.wait(30)

    child = fork(lambda: exit_unless(pool._lock.acquire(timeout=5)))
    code = child.join()

    done.set()
    holder.join()
    assert code == 0
