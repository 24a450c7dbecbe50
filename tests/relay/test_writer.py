"""The writer: no record twice or torn, and none lost but in hand at an interrupt."""

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from decimal import Decimal

import pytest

from huey_otel._relay import writer as _writer
from huey_otel._relay.pipe import Pipe, PipeReader
from huey_otel._relay.writer import PipeWriter
from huey_otel._safety.losses import LOSSES
from huey_otel._wire.record import Record, TaskFacts
from tests.support.forks import fork, open_descriptors
from tests.support.interruptions import Interruption
from tests.support.timeouts import untraced
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))


def record(status, key, **extra):
    return Record(1, status, 1.5, os.getpid(), key, "Worker-1", FACTS, 2, extra)


@pytest.fixture
def writer(pipe, reader):
    made = PipeWriter(pipe.write_end)
    yield made
    wait_until(lambda: read_all(reader) == [] and not made.behind)
    wait_until(lambda: backlog_threads() == [])


def backlog_threads():
    # One whose start an alarm interrupted is listed for ever, and is not alive.
    threads = threading.enumerate()
    return [t for t in threads if t.name == "huey-otel-backlog" and t.is_alive()]


def read_all(reader):
    records = []
    while True:
        size, some = reader.read()
        if not size:
            return records
        records.extend(some)


class OwnInt(int):
    pass


def test_a_record_with_odd_values_is_written(writer, reader):
    sent = record("started", 1)._replace(facts=(Decimal("60"),), retries=OwnInt(2))

    accepted = writer.send(sent)

    assert accepted is True
    assert read_all(reader) == [sent._replace(facts=("60",), retries=2)]


def test_a_record_is_written_at_once(writer, reader):
    sent = [record("started", 1), record("error-task", 1, traceback="x" * 20_000)]

    accepted = [writer.send(some) for some in sent]

    assert accepted == [True, True]
    assert read_all(reader) == sent
    assert backlog_threads() == []


def test_no_record_of_killed_writers_is_torn(pipe, reader):
    texts = ["s", "m" * 3_000, "l" * 15_000]

    def write_for_ever():
        end = PipeWriter(pipe.write_end)
        number = 0
        while True:
            number += 1
            end.send(record("started", number, text=texts[number % 3]), must=True)
            while end.behind:
                end.drain(1.0)

    writers = [fork(write_for_ever) for _ in range(4)]
    seen = Counter()
    kills = 0
    deadline = time.monotonic() + 20
    while kills < 12 and time.monotonic() < deadline:
        target = sum(seen.values()) + 300
        while sum(seen.values()) < target and time.monotonic() < deadline:
            for got in reader.read()[1]:
                seen[got.pid] += 1
                # In order, without a gap, and whole.
                assert got.key == seen[got.pid]
                assert got.extra == {"text": texts[got.key % 3]}
        victim = writers.pop(0)
        victim.kill()
        kills += 1
        writers.append(fork(write_for_ever))
    for left in writers:
        left.kill()

    assert kills == 12
    for got in read_all(reader):
        seen[got.pid] += 1
        assert got.key == seen[got.pid]
    assert reader._rest == b""


def filled(writer):
    """Send until the pipe and the backlog are full; what was taken, and summed up."""
    taken, summed = [], []
    key = 0
    while not summed:
        key += 1
        if writer.send(record("started", key, wait=0.5)):
            taken.append(key)
        else:
            summed.append(key)
    return taken, summed


def numbers(many):
    return {"number": many, "count": many, "values": {0.5: many}}


def test_a_full_pipe_loses_no_count(writer, reader, losses, monkeypatch):
    monkeypatch.setattr(_writer, "BACKLOG", 50_000)
    taken, summed = filled(writer)
    more = 200
    accepted = [
        writer.send(
            record("ended", key, outcome="success", final="success", duration=0.5),
            must=key % 2 == 0,
        )
        for key in range(1, more + 1)
    ]
    threads = len(backlog_threads())

    received = []
    wait_until(lambda: received.extend(read_all(reader)) or not writer.behind)
    received.extend(read_all(reader))

    records = [r for r in received if r.key and not r.sums_up]
    sums = [(r.status, r.extra) for r in received if r.sums_up]
    told = [r.extra["losses"] for r in received if r.status == "losses"]
    lost = [number for some in told for _, reason, number in some if reason == "relay"]
    assert accepted == [key % 2 == 0 for key in range(1, more + 1)]
    assert threads == 1
    assert [r.key for r in records if r.status == "started"] == taken
    assert [r.key for r in records if r.status == "ended"] == list(
        range(2, more + 1, 2)
    )
    some, half = len(summed), more // 2
    keyed = dict.fromkeys(("outcome", "final", "exception", "origin", "reason"))
    success = {"outcome": "success", "final": "success", "duration": half / 2}
    assert sums == [
        (
            "started",
            {**keyed, **numbers(some), "wait": some / 2},
        ),
        ("ended", {**keyed, **numbers(half), **success}),
    ]
    # Only the narrative is lost, so `ended` is not.
    assert sum(lost) + LOSSES.counts().get("relay", 0) == len(summed)


def test_a_thread_exists_only_while_something_is_kept(
    writer, reader, losses, monkeypatch
):
    monkeypatch.setattr(_writer, "BACKLOG", 10_000)
    before = backlog_threads()
    filled(writer)
    during = len(backlog_threads())

    wait_until(lambda: read_all(reader) == [] and backlog_threads() == [])

    assert (before, during) == ([], 1)
    assert writer.flush() is True
    assert writer.send(record("started", 1)) is True
    assert backlog_threads() == []


def test_records_stay_in_order_behind_a_backlog(writer, reader, losses, monkeypatch):
    monkeypatch.setattr(_writer, "BACKLOG", 10 << 20)
    sizes = [10, 5_000, 3_000, 20_000]
    sent = 0
    received = []
    while len(writer._frames) < 50:
        sent += 1
        writer.send(record("started", sent, text="x" * sizes[sent % 4]))
    for _ in range(50):
        received.extend(reader.read()[1])
        sent += 1
        writer.send(record("started", sent, text="x" * sizes[sent % 4]))

    wait_until(lambda: received.extend(read_all(reader)) or not writer.behind)
    received.extend(read_all(reader))

    assert [got.key for got in received] == list(range(1, sent + 1))


def test_a_drain_waits_no_longer_than_it_may(writer, reader, losses, monkeypatch):
    monkeypatch.setattr(_writer, "BACKLOG", 10_000)
    filled(writer)
    began = time.monotonic()

    in_vain = writer.drain(0.05)
    waited = time.monotonic() - began
    emptying = threading.Thread(
        target=wait_until,
        args=(lambda: read_all(reader) == [] and not writer.behind,),
    )
    emptying.start()
    drained = writer.drain(5.0)
    emptying.join()

    assert (in_vain, drained) == (False, True)
    assert 0.04 < waited < 1.0


def test_what_a_writer_lost_reaches_the_reader(writer, reader, losses):
    losses.count("carrier", 3, why="w")

    writer.send(record("started", 1))

    losses_told, sent = read_all(reader)
    assert (losses_told.status, losses_told.pid) == ("losses", os.getpid())
    assert losses_told.extra == {"losses": [("", "carrier", 3)]}
    assert sent == record("started", 1)
    assert losses.counts() == {}


def test_what_a_writer_lost_last_is_drained(writer, reader, losses):
    losses.count("carrier", 3, why="w", queue="shop")

    drained = writer.drain(1.0)

    assert drained is True
    assert [(r.status, r.extra) for r in read_all(reader)] == [
        ("losses", {"losses": [("shop", "carrier", 3)]})
    ]


def test_a_loss_reaches_the_reader_without_any_record(
    writer, reader, losses, monkeypatch
):
    monkeypatch.setattr(_writer, "TELL_AFTER", 0.05)
    before = backlog_threads()
    for _ in range(3):
        losses.count("carrier", 2, why="w")

    received = []
    wait_until(lambda: received.extend(read_all(reader)) or received)
    wait_until(lambda: backlog_threads() == [])

    # One record for all of them, and no thread before and after it.
    assert before == []
    assert [(r.status, r.extra) for r in received] == [
        ("losses", {"losses": [("", "carrier", 6)]})
    ]
    assert losses.counts() == {}


def test_a_loss_that_a_full_pipe_does_not_take_is_told_later(
    writer, reader, losses, monkeypatch
):
    monkeypatch.setattr(_writer, "TELL_AFTER", 0.0)
    taken, _ = filled(writer)
    losses.count("carrier", 2, why="w")
    wait_until(lambda: losses.counts() == {})

    received = []
    wait_until(lambda: received.extend(read_all(reader)) or not writer.behind)

    told = [r.extra["losses"] for r in received if r.status == "losses"]
    assert [one for some in told for one in some if "carrier" in one] == [
        ("", "carrier", 2)
    ]
    assert len(received) > len(taken)


def test_the_thread_of_a_writer_whose_reader_is_gone_ends(losses, monkeypatch):
    monkeypatch.setattr(_writer, "TELL_AFTER", 0.0)
    pipe = Pipe()
    writer = PipeWriter(pipe.write_end)
    pipe.close_read_end()

    losses.count("carrier", why="w")
    wait_until(lambda: backlog_threads() == [])
    losses.count("carrier", why="w")

    assert backlog_threads() == []
    assert writer.behind is False
    os.close(pipe.write_end)


def test_without_a_reader_nothing_is_kept_and_nothing_raised(losses, monkeypatch):
    monkeypatch.setattr(_writer, "BACKLOG", 10_000)
    pipe = Pipe()
    before = open_descriptors()
    writer = PipeWriter(pipe.write_end)
    filled(writer)
    pipe.close_read_end()

    wait_until(lambda: not writer.behind)
    accepted = [writer.send(record("started", key), must=True) for key in range(10)]

    assert accepted == [True] * 10
    assert writer.drain(1.0) is True
    assert not writer.behind
    wait_until(lambda: backlog_threads() == [])
    assert len(before - open_descriptors()) == 1
    os.close(pipe.write_end)


def test_a_writer_in_an_orphan_stops_at_once(pipe):
    # The orphan closes its copy of the read end, as a relay does first thing.
    def orphan():
        pipe.close_read_end()
        writer = PipeWriter(pipe.write_end)
        wait_until(lambda: writer.send(record("started", 1)) and writer.reader_gone)

    child_may_go, go = os.pipe()

    def waiting():
        os.read(child_may_go, 1)
        orphan()

    child = fork(waiting)
    spare = os.dup(pipe.read_end)
    os.close(pipe.read_end)
    os.close(spare)
    os.write(go, b"x")
    code = child.join()
    os.close(child_may_go)
    os.close(go)
    pipe.read_end, end = os.pipe()
    os.close(end)

    assert code == 0


class InterruptedByAlarmError(Exception):
    """What an alarm raises."""


def interrupted_at(number):
    return Interruption(
        number,
        InterruptedByAlarmError(),
        *("_relay/writer", "overflow", "losses", "_relay/pipe"),
    )


def small(pipe):
    fcntl.fcntl(pipe.write_end, fcntl.F_SETPIPE_SZ, 4096)


def numbered(records):
    return [r for r in records if r.key and not r.sums_up]


def summed_up(records):
    return sum(r.extra["number"] for r in records if r.sums_up)


@pytest.mark.parametrize("must", [True, False], ids=["must", "may"])
@pytest.mark.parametrize("size", [10, 9_000], ids=["small", "in parts"])
@pytest.mark.parametrize("backlog", [8_000, 40_000], ids=["full", "room"])
def test_an_interrupt_in_any_line_costs_one_record_and_repeats_none(
    pipe, losses, monkeypatch, must, size, backlog
):
    monkeypatch.setattr(_writer, "BACKLOG", backlog)
    monkeypatch.setattr(PipeWriter, "_flush_later", lambda _self: None)
    small(pipe)
    line, more = 0, True
    while more:
        reader, writer = PipeReader(pipe.read_end), PipeWriter(pipe.write_end)
        sent = [record("started", key, text="x" * 500) for key in range(1, 13)]
        for one in sent:
            writer.send(one)
        received = list(reader.read()[1])
        sent.append(record("started", 13, text="x" * size))
        with interrupted_at(line) as interruption, suppress(InterruptedByAlarmError):
            writer.send(sent[-1], must=must)
            writer.flush()
        more = interruption.happened
        sent.append(record("started", 14, text="x" * 500))
        writer.send(sent[-1], must=True)
        while writer.behind:
            received.extend(read_all(reader))
            writer.flush()
        received.extend(read_all(reader))

        got = numbered(received)
        assert got == [one for one in sent if one in got], line
        # At most the one that was in hand.
        there = len(got) + summed_up(received)
        assert there in ((14,) if not more else (13, 14)), line
        assert writer._size == 0
        line += 1

    assert line > 20


# threading's own: an alarm in Thread.start() lets the new thread die.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(
    sys.version_info >= (3, 14),
    reason="in CPython 3.14 what a signal handler raises leaves `with lock:` locked",
)
def test_alarms_in_a_backlog_cost_a_record_each_and_repeat_none(pipe, losses):
    small(pipe)
    reader, writer = PipeReader(pipe.read_end), PipeWriter(pipe.write_end)
    received, over = [], threading.Event()

    def read():
        while not over.wait(0.0005):
            received.extend(reader.read()[1])

    def alarm(_signum, _frame):
        raise InterruptedByAlarmError

    reading = threading.Thread(target=read)
    reading.start()
    before = signal.signal(signal.SIGALRM, alarm)
    key = interrupts = 0
    with untraced():
        while interrupts < 300:
            try:
                try:
                    # And again, should a finalizer swallow the first one.
                    first = 0.0002 + key % 7 * 0.0001
                    signal.setitimer(signal.ITIMER_REAL, first, 0.5)
                    while True:
                        key += 1
                        text = "x" * (9_000 if key % 5 == 0 else 50)
                        writer.send(record("started", key, text=text), must=True)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except InterruptedByAlarmError:
                interrupts += 1
            wait_until(lambda: len(writer._frames) < 300 or writer.flush())
    # An alarm may have cut the call that ends the timer; the next one must not find the
    # default handler, which ends the process.
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    drained = writer.drain(10.0)
    wait_until(lambda: reader.waiting() == 0)
    over.set()
    reading.join()
    received.extend(read_all(reader))

    got = [one.key for one in numbered(received)]
    assert drained is True
    assert got == sorted(set(got))
    assert key - len(got) <= interrupts
    assert writer._size == 0
    wait_until(lambda: backlog_threads() == [])


def test_a_thread_that_cannot_be_started_is_tried_again(
    writer, reader, losses, monkeypatch
):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        while not writer.behind:
            writer.send(record("started", 1, text="x" * 3_000))
    before = len(backlog_threads())

    writer.send(record("started", 2))

    assert (before, len(backlog_threads())) == (0, 1)
    wait_until(lambda: read_all(reader) == [] and not writer.behind)


def test_a_handler_that_enqueues_does_not_deadlock_two_threads(
    writer, reader, losses, monkeypatch
):
    monkeypatch.setattr(_writer, "BACKLOG", 5_000)
    inside = threading.Event()
    may_log = threading.Event()

    class Enqueues(logging.Handler):
        def emit(self, entry):
            if entry.name == "app":
                inside.set()
                may_log.wait(5)
            writer.send(record("started", 0))

    handler = Enqueues(level=logging.WARNING)
    logging.getLogger().addHandler(handler)
    chatter = threading.Thread(
        target=logging.getLogger("app").warning, args=("hello",), daemon=True
    )
    sender = threading.Thread(target=filled, args=(writer,), daemon=True)
    chatter.start()
    inside.wait(5)
    sender.start()
    # The sender has found the backlog full, and waits for the handler's lock.
    wait_until(lambda: bool(LOSSES.counts()))
    may_log.set()
    chatter.join(5)
    sender.join(5)
    logging.getLogger().removeHandler(handler)

    assert (chatter.is_alive(), sender.is_alive()) == (False, False)


def test_a_write_end_that_was_closed_keeps_nothing(losses):
    pipe = Pipe()
    writer = PipeWriter(pipe.write_end)
    pipe.close()

    accepted = [writer.send(record("started", key), must=True) for key in range(10)]

    assert accepted == [True] * 10
    assert writer.behind is False
