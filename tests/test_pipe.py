"""The pipe: records of many forked writers, none torn, none that counts lost."""

import os
import select
import threading
import time
from collections import Counter
from decimal import Decimal

import pytest

from huey_otel import _pipe
from huey_otel._losses import LOSSES
from huey_otel._pipe import Pipe, PipeReader, PipeWriter, encode, plain
from huey_otel._records import Record, TaskFacts
from tests.support import wait_until
from tests.support_forks import fork, open_descriptors

FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))


def record(status, key, **extra):
    return Record(1, status, 1.5, os.getpid(), key, "Worker-1", FACTS, 2, extra)


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def reader(pipe):
    return PipeReader(pipe.read_end)


@pytest.fixture
def writer(pipe):
    made = PipeWriter(pipe.write_end)
    yield made
    made._backlog.clear()
    wait_until(lambda: backlog_threads() == [])


def backlog_threads():
    return [t for t in threading.enumerate() if t.name == "huey-otel-backlog"]


def read_all(reader):
    payloads = []
    while True:
        size, some = reader.read()
        if not size:
            return payloads
        payloads.extend(some)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(tuple(record("started", 1)), id="a record"),
        pytest.param(tuple(record("x", 1, text="値\udc80\0")), id="odd text"),
        pytest.param(("sums", [((1, "ended", None), [1, 0.5])]), id="sums"),
        pytest.param("", id="little"),
        pytest.param("x" * 100_000, id="large"),
        *(
            pytest.param("x" * (select.PIPE_BUF + more), id=f"PIPE_BUF{more:+}")
            for more in range(-20, 3)
        ),
        pytest.param("x" * (select.PIPE_BUF - 17) * 4, id="full parts"),
    ],
)
def test_what_was_written_is_read(pipe, reader, payload):
    parts = encode(payload, 7)
    for part in parts:
        os.write(pipe.write_end, part)

    assert read_all(reader) == [payload]
    assert max(map(len, parts)) <= select.PIPE_BUF
    assert reader._rest == b""
    assert reader._partial == {}


def test_a_pipe_is_as_large_as_the_system_allows(pipe):
    assert pipe.capacity in (1 << 16, 1 << 20)


def test_parts_of_several_records_may_mix(pipe, reader):
    first, second = encode("a" * 10_000, 7), encode("b" * 10_000, 7)
    third = encode("c" * 10_000, 8)

    for parts in zip(first, second, third, strict=True):
        for part in parts:
            os.write(pipe.write_end, part)

    assert [payload[0] for payload in read_all(reader)] == ["a", "b", "c"]


def test_what_a_dead_writer_had_begun_is_forgotten(pipe, reader):
    os.write(pipe.write_end, encode("a" * 10_000, 7)[0])
    os.write(pipe.write_end, encode("b" * 10_000, 8)[0])
    payloads = read_all(reader)

    reader.forget(7)

    assert payloads == []
    assert [pid for pid, _ in reader._partial] == [8]


def test_what_cannot_be_decoded_does_not_stop_the_next_one(pipe, reader, losses):
    header = _pipe._HEADER.pack(4, 0, 7, 0)

    for part in (*encode("before", 7), header + b"\xffbad", *encode("after", 7)):
        os.write(pipe.write_end, part)

    assert read_all(reader) == ["before", "after"]
    assert losses.counts() == {"internal": 1}


def test_what_waits_in_the_pipe_is_known(pipe, reader):
    before = reader.waiting()
    parts = encode("x" * 10_000, 7)
    for part in parts:
        os.write(pipe.write_end, part)

    assert (before, reader.waiting()) == (0, sum(map(len, parts)))


class OwnStr(str):
    __slots__ = ()


class OwnInt(int):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        ((1, "a", 1.5), (1, "a", 1.5)),
        ([1, [2]], (1, (2,))),
        ({1: {"a": None}}, {"1": {"a": None}}),
        (OwnInt(3), 3),
        (OwnStr("id"), "id"),
        (Decimal("1.5"), "1.5"),
        (b"raw", "b'raw'"),
    ],
    ids=repr,
)
def test_odd_values_are_made_plain(value, expected):
    made = plain(value)

    assert made == expected
    assert type(made) is type(expected)


def test_a_record_with_odd_values_is_written(writer, reader):
    sent = record("started", 1)._replace(facts=(Decimal("60"),), retries=OwnInt(2))

    accepted = writer.send(sent)

    assert accepted is True
    assert read_all(reader) == [tuple(sent._replace(facts=("60",), retries=2))]


def test_a_record_is_written_at_once(writer, reader):
    sent = [record("started", 1), record("error-task", 1, traceback="x" * 20_000)]

    accepted = [writer.send(some) for some in sent]

    assert accepted == [True, True]
    assert read_all(reader) == [tuple(some) for some in sent]
    assert backlog_threads() == []


def test_no_record_of_killed_writers_is_torn(pipe, reader):
    texts = ["s", "m" * 3_000, "l" * 15_000]

    def write_for_ever():
        end = PipeWriter(pipe.write_end)
        number = 0
        while True:
            number += 1
            end.send(record("started", number, text=texts[number % 3]), must=True)
            while end._backlog:
                end.drain(1.0)

    writers = [fork(write_for_ever) for _ in range(4)]
    seen = Counter()
    kills = 0
    deadline = time.monotonic() + 20
    while kills < 12 and time.monotonic() < deadline:
        target = sum(seen.values()) + 300
        while sum(seen.values()) < target and time.monotonic() < deadline:
            for payload in reader.read()[1]:
                got = Record(*payload)
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
    for payload in read_all(reader):
        got = Record(*payload)
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


def test_a_full_pipe_loses_no_count(writer, reader, losses, monkeypatch):
    monkeypatch.setattr(_pipe, "BACKLOG", 50_000)
    taken, summed = filled(writer)
    more = 200
    accepted = [
        writer.send(
            record("ended", key, outcome="success", final="success", duration=0.5),
            must=key % 2 == 0,
        )
        for key in range(more)
    ]
    threads = len(backlog_threads())

    payloads = []
    wait_until(
        lambda: (
            payloads.extend(read_all(reader)) or not (writer._backlog or writer._sums)
        )
    )
    payloads.extend(read_all(reader))

    records = [Record(*p) for p in payloads if len(p) == len(Record._fields)]
    sums = [
        entry
        for kind, some in (p for p in payloads if p[0] == "sums")
        for entry in some
    ]
    lost = [some for kind, some in (p for p in payloads if p[0] == "losses")]
    assert accepted == [key % 2 == 0 for key in range(more)]
    assert threads == 1
    assert [r.key for r in records if r.status == "started"] == taken
    assert [r.key for r in records if r.status == "ended"] == list(range(0, more, 2))
    some, half = len(summed), more / 2
    started = (1, "started", "app.send", None, None, None, None, None)
    ended = (1, "ended", "app.send", "success", "success", None, None, None)
    assert sums == [
        (started, (some, some, 1.5, some / 2, {0.5: some})),
        (ended, (half, half, 1.5, half / 2, {0.5: half})),
    ]
    # Only the narrative is lost, so `ended` is not.
    assert sum(one.get("relay", 0) for one in lost) + LOSSES.counts().get(
        "relay", 0
    ) == len(summed)


def test_a_thread_exists_only_while_something_is_kept(
    writer, reader, losses, monkeypatch
):
    monkeypatch.setattr(_pipe, "BACKLOG", 10_000)
    before = backlog_threads()
    filled(writer)
    during = len(backlog_threads())

    wait_until(lambda: read_all(reader) == [] and backlog_threads() == [])

    assert (before, during) == ([], 1)
    assert writer.flush() is True
    assert writer.send(record("started", 1)) is True
    assert backlog_threads() == []


def test_records_stay_in_order_behind_a_backlog(writer, reader, losses, monkeypatch):
    monkeypatch.setattr(_pipe, "BACKLOG", 10 << 20)
    sizes = [10, 5_000, 3_000, 20_000]
    sent = 0
    received = []
    while len(writer._backlog) < 50:
        sent += 1
        writer.send(record("started", sent, text="x" * sizes[sent % 4]))
    for _ in range(50):
        received.extend(reader.read()[1])
        sent += 1
        writer.send(record("started", sent, text="x" * sizes[sent % 4]))

    wait_until(lambda: received.extend(read_all(reader)) or not writer._backlog)
    received.extend(read_all(reader))

    assert [Record(*payload).key for payload in received] == list(range(1, sent + 1))


def test_a_drain_waits_no_longer_than_it_may(writer, reader, losses, monkeypatch):
    monkeypatch.setattr(_pipe, "BACKLOG", 10_000)
    filled(writer)
    began = time.monotonic()

    in_vain = writer.drain(0.05)
    waited = time.monotonic() - began
    emptying = threading.Thread(
        target=wait_until,
        args=(lambda: read_all(reader) == [] and not writer._backlog,),
    )
    emptying.start()
    drained = writer.drain(5.0)
    emptying.join()

    assert (in_vain, drained) == (False, True)
    assert 0.04 < waited < 1.0


def test_what_a_writer_lost_reaches_the_reader(writer, reader, losses):
    losses.count("carrier", 3, why="w")

    writer.send(record("started", 1))

    assert read_all(reader) == [
        ("losses", {"carrier": 3}),
        tuple(record("started", 1)),
    ]
    assert losses.counts() == {}


def test_what_a_writer_lost_last_is_drained(writer, reader, losses):
    losses.count("carrier", 3, why="w")

    drained = writer.drain(1.0)

    assert drained is True
    assert read_all(reader) == [("losses", {"carrier": 3})]


def test_without_a_reader_nothing_is_kept_and_nothing_raised(losses, monkeypatch):
    monkeypatch.setattr(_pipe, "BACKLOG", 10_000)
    pipe = Pipe()
    before = open_descriptors()
    writer = PipeWriter(pipe.write_end)
    filled(writer)
    pipe.close_read_end()

    wait_until(lambda: not writer._backlog)
    accepted = [writer.send(record("started", key), must=True) for key in range(10)]

    assert accepted == [True] * 10
    assert writer.drain(1.0) is True
    assert len(writer._backlog) == 0
    wait_until(lambda: backlog_threads() == [])
    assert len(before - open_descriptors()) == 1
    os.close(pipe.write_end)


def test_a_writer_in_an_orphan_stops_at_once(pipe):
    # The orphan closes its copy of the read end, as a relay does first thing.
    def orphan():
        pipe.close_read_end()
        writer = PipeWriter(pipe.write_end)
        wait_until(lambda: writer.send(record("started", 1)) and writer._reader_gone)

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
