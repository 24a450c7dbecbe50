"""The relay: from where a record happens to where it is handled, in order, once."""

import contextlib
import os
import threading
import time
from collections import Counter
from multiprocessing import get_context
from types import SimpleNamespace

import pytest

from huey_otel._otel.span_counts import SPANS
from huey_otel._relay import relay as _relay
from huey_otel._relay.relay import Relay
from huey_otel._relay.routes import Route, Routes
from huey_otel._safety import forks
from huey_otel._safety.forks import EXCLUSION
from huey_otel._wire.record import Record, TaskFacts
from tests.support.forks import fork, open_descriptors
from tests.support.interruptions import Interruption
from tests.support.waiting import wait_until

FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))
FORK = get_context("fork")


def record(status, key, *, pid=None, **extra):
    pid = os.getpid() if pid is None else pid
    return Record(1, status, 1.5, pid, key, None, FACTS, 2, extra)


def gone(pid):
    return Record(1, "gone", 1.5, pid, 0, None, None, None, None)


def relay_threads():
    return [t for t in threading.enumerate() if t.name == "huey-otel-relay"]


class Got:
    """What a relay has handed out."""

    def __init__(self):
        self.records = []
        self.threads = set()
        self.delay = None

    def deliver(self, record):
        self.threads.add(threading.current_thread().name)
        if self.delay is not None:
            self.delay.wait(5)
        self.records.append(record)

    @property
    def steps(self):
        return [(r.status, r.key) for r in self.records if not r.sums_up]

    @property
    def sums(self):
        return [record for record in self.records if record.sums_up]


@pytest.fixture
def got():
    return Got()


@pytest.fixture
def relay(got):
    made = Relay(got)
    yield made
    end(made)


def end(relay):
    """What no process does, which has one relay for all its life."""
    thread, relay._thread = relay._thread, None
    if thread is not None:
        relay._waker.poke()
        thread.join(5)
        relay._waker.close()
    if relay._pipe is not None:
        relay._pipe.close()
        relay._pipe = relay._reader = None


def exit_unless(condition):
    if not condition:
        os._exit(9)


def test_quiet_until_needed(got):
    threads, descriptors = threading.enumerate(), open_descriptors()

    relay = Relay(got)
    flushed = relay.flush(1.0)

    assert flushed is True
    assert threading.enumerate() == threads
    assert open_descriptors() == descriptors


def test_records_are_handled_in_order_on_one_thread(relay, got):
    sent = [record("started", key) for key in range(5_000)]

    accepted = {relay.send(some) for some in sent}
    flushed = relay.flush(5.0)

    assert accepted == {True}
    assert flushed is True
    assert got.records == sent
    assert got.threads == {"huey-otel-relay"}


def test_a_record_is_handled_without_a_flush(relay, got):
    for key in range(3):
        relay.send(record("started", key))
        wait_until(lambda key=key: got.steps[-1:] == [("started", key)])

    assert len(got.records) == 3


def test_records_of_many_threads_all_arrive(relay, got):
    def send(first):
        for key in range(first, first + 1_000):
            relay.send(record("started", key))

    threads = [threading.Thread(target=send, args=(at * 1_000,)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    relay.flush(5.0)

    assert sorted(r.key for r in got.records) == list(range(8_000))


def test_a_broken_sink_does_not_stop_the_relay(relay, got, losses):
    def broken(record):
        got.deliver(record)
        raise RuntimeError("sink down")

    relay._routes = SimpleNamespace(deliver=broken)

    relay.send(record("started", 1))
    relay.send(record("started", 2))
    flushed = relay.flush(5.0)

    assert flushed is True
    assert got.steps == [("started", 1), ("started", 2)]
    assert losses.counts() == {"internal": 2}


def test_a_flush_waits_no_longer_than_it_may(relay, got):
    got.delay = threading.Event()
    relay.send(record("started", 1))
    began = time.monotonic()

    flushed = relay.flush(0.05)
    waited = time.monotonic() - began
    got.delay.set()

    assert flushed is False
    assert waited < 1.0
    assert relay.flush(5.0) is True


def test_what_is_too_much_is_summed_up_except_what_must_be(
    relay, got, losses, monkeypatch
):
    monkeypatch.setattr(_relay, "_LIMIT", 10)
    got.delay = threading.Event()
    # The first is being handled, and holds up the others.
    relay.send(record("started", 0))
    wait_until(lambda: bool(got.threads))
    success = {"outcome": "success", "final": "success", "duration": 0.5}

    accepted = [relay.send(record("started", key)) for key in range(1, 21)]
    musts = [relay.send(record("ended", key, **success), must=True) for key in range(3)]
    ended = relay.send(record("ended", 3, **success))
    got.delay.set()
    relay.flush(5.0)
    wait_until(lambda: bool(got.sums))

    assert accepted == [True] * 10 + [False] * 10
    assert (musts, ended) == ([True] * 3, False)
    assert got.steps == [("started", key) for key in range(11)] + [
        ("ended", key) for key in range(3)
    ]
    assert [(r.status, r.facts[2], r.extra["number"]) for r in got.sums] == [
        ("started", "app.send", 10),
        ("ended", "app.send", 1),
    ]
    # Only the narrative is lost, so `ended` is not.
    assert losses.counts() == {"relay": 10}


class AlarmError(Exception):
    """What an alarm raises."""


@pytest.mark.parametrize("started", [True, False], ids=["asleep", "not started"])
def test_after_an_interrupt_in_any_line_the_next_record_rouses_the_relay(started):
    others = relay_threads()
    runs = []
    while not runs or runs[-1].happened:
        got = Got()
        relay = Relay(got)
        if started:
            relay.send(record("started", -1))
            relay.flush(5.0)
            wait_until(lambda relay=relay: relay._asleep)
        names = ("_relay/relay", "wakeups", "losses")
        runs.append(Interruption(len(runs), AlarmError(), *names))
        with contextlib.suppress(AlarmError), runs[-1]:
            relay.send(record("started", 0))

        relay.send(record("started", 1))

        wait_until(lambda got=got: got.steps[-1:] == [("started", 1)])
        assert len(got.steps) == len(set(got.steps))
        end(relay)
        wait_until(lambda: relay_threads() == others)

    assert len(runs) > 10


@pytest.mark.parametrize(
    ("of", "what", "error"),
    [
        (threading.Thread, "start", RuntimeError("can't start new thread")),
        (os, "pipe", OSError(24, "Too many open files")),
    ],
    ids=["thread", "descriptor"],
)
def test_a_relay_that_could_not_start_is_started_by_the_next_record(
    relay, got, losses, monkeypatch, caplog, of, what, error
):
    def refuse(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(of, what, refuse)
        accepted = [relay.send(record("started", key)) for key in range(50)]

    relay.send(record("started", 50))

    wait_until(lambda: len(got.records) == 51)
    assert accepted == [True] * 50
    # Nothing of it was lost, and that it waited is said once.
    assert losses.counts() == {}
    (line,) = caplog.records
    assert line.getMessage().startswith("the relay's thread cannot be roused, events")


def test_a_thread_that_died_of_an_interrupted_start_is_replaced(
    relay, got, monkeypatch
):
    def start_and_die(thread):
        thread._ident = 1
        raise AlarmError

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_and_die)
        with pytest.raises(AlarmError):
            relay.send(record("started", 0))

    relay.send(record("started", 1))

    wait_until(lambda: got.steps == [("started", 0), ("started", 1)])


def test_a_waker_that_somebody_has_closed_is_made_anew(relay, got, losses, caplog):
    relay.send(record("started", 0))
    relay.flush(5.0)
    wait_until(lambda: relay._asleep)
    closed = relay._waker

    for descriptor in closed._ends:
        os.close(descriptor)
    relay.send(record("started", 1))
    wait_until(lambda: relay._waker is not closed)
    relay.send(record("started", 2))

    wait_until(lambda: got.steps[-1:] == [("started", 2)])
    assert got.steps == [("started", key) for key in range(3)]
    assert relay.flush(5.0) is True
    assert losses.counts() == {}
    assert len(caplog.records) <= 2


class Living:
    """A process whose *sentinel* says nothing."""

    def __init__(self, sentinel):
        self.sentinel = sentinel

    def is_alive(self):
        return True


def test_what_cannot_be_polled_makes_no_hot_loop(relay, got, losses, monkeypatch):
    relay.send(record("started", 0))
    relay.flush(5.0)
    wait_until(lambda: relay._asleep)
    pauses = threading.Semaphore(0)
    monkeypatch.setattr(
        *(_relay, "time"),
        SimpleNamespace(sleep=lambda _: pauses.acquire(timeout=5), time=time.time),
    )
    rounds = []
    work = relay._round
    relay._round = lambda: rounds.append(1) or work()
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    process = Living(reading)

    relay.watch(process, gone(1))
    wait_until(lambda: len(rounds) == 1)
    for _ in range(3):
        pauses.release()

    wait_until(lambda: len(rounds) == 4)
    assert got.steps == [("started", 0)]
    assert losses.counts() == {}
    process.is_alive = lambda: False
    pauses.release()
    wait_until(lambda: got.steps == [("started", 0), ("gone", 0)])


def test_a_pipe_that_somebody_has_closed_is_given_up_and_counted_once(
    relay, got, losses
):
    relay.open_pipe()
    relay.flush(5.0)
    pipe = relay._pipe

    pipe.close()
    relay.send(record("started", 1))
    flushed = relay.flush(5.0)

    assert flushed is True
    assert got.steps == [("started", 1)]
    wait_until(lambda: relay._pipe is None)
    relay.send(record("started", 2))
    assert relay.flush(5.0) is True
    assert losses.counts()["internal"] <= 2


# Across forks.


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
    assert 0.19 < waited < 2.0


def test_the_loss_of_a_killed_child_comes_behind_all_that_it_wrote(got):
    class Sink:
        def __call__(self, record, _source):
            got.deliver(record)

    routes = Routes()
    routes.add(1, Route(None, (Sink(),)))
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
    assert len(relay._workers) == 0
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
            # Tells of the first; the second it has no time left to tell.
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


def test_a_death_is_noticed_while_nothing_else_happens(relay, got):
    relay.open_pipe()
    process = FORK.Process(target=lambda: os.kill(os.getpid(), 9), daemon=True)
    process.start()

    relay.watch(process, gone(process.pid))

    wait_until(lambda: got.steps == [("gone", 0)])
    process.join()


def test_descriptors_do_not_add_up_with_forks(relay, got):
    relay.open_pipe()
    relay.send(record("started", 0))
    relay.flush(5.0)
    before = open_descriptors()

    def child():
        # No more than the parent has: its waker and the read end are closed.
        exit_unless(len(open_descriptors()) <= len(before))
        relay.send(record("started", 1))
        exit_unless(relay.flush(5.0))

    codes = [fork(child).join() for _ in range(50)]
    relay.flush(5.0)

    assert codes == [0] * 50
    assert open_descriptors() == before
    assert len(got.records) == 51


def test_a_child_closes_what_only_the_parent_reads(relay):
    relay.open_pipe()
    relay.flush(5.0)
    end = relay._pipe.read_end

    code = fork(lambda: exit_unless(str(end) not in open_descriptors())).join()

    assert code == 0


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
