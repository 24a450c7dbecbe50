"""The pipe: records of many forked writers, none torn, none that counts lost."""

import fcntl
import os
import select
from decimal import Decimal

import pytest

from huey_otel._relay import pipe as _pipe
from huey_otel._relay.pipe import encode, plain
from huey_otel._wire.record import Record, TaskFacts

pytestmark = pytest.mark.once

FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))


def record(status, key, **extra):
    return Record(1, status, 1.5, os.getpid(), key, "Worker-1", FACTS, 2, extra)


LONG = record("error-task", 1, traceback="x" * 10_000)


def read_all(reader):
    records = []
    while True:
        size, some = reader.read()
        if not size:
            return records
        records.extend(some)


def sized(size):
    """A record that takes *size* bytes in a frame without its header."""
    empty = len(encode(record("x", 1, text=""), 7)[0]) - _pipe._HEADER.size
    return record("x", 1, text="x" * (size - empty))


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(record("started", 1), id="an attempt"),
        pytest.param(record("x", 1, text="値\udc80\0"), id="odd text"),
        pytest.param(record("x", 0, number=2, values={0.5: 2}), id="a sum"),
        pytest.param(record("x", 1, text="x" * 100_000), id="large"),
        *(
            pytest.param(sized(select.PIPE_BUF + more), id=f"PIPE_BUF{more:+}")
            for more in range(-20, 3)
        ),
        pytest.param(sized(_pipe._PART * 4), id="full parts"),
    ],
)
def test_what_was_written_is_read(pipe, reader, sent):
    frames = encode(sent, 7)
    for frame in frames:
        os.write(pipe.write_end, frame)

    assert read_all(reader) == [sent]
    assert max(map(len, frames)) <= select.PIPE_BUF
    assert reader._rest == b""
    assert reader._partial == {}


def test_a_pipe_is_as_large_as_the_system_allows(pipe):
    capacity = fcntl.fcntl(pipe.write_end, fcntl.F_GETPIPE_SZ)

    assert capacity in (1 << 16, 1 << 20)


def test_parts_of_several_records_may_mix(pipe, reader):
    first, second = encode(LONG, 7), encode(LONG._replace(key=2), 7)
    third = encode(LONG._replace(key=3), 8)

    for parts in zip(first, second, third, strict=True):
        for part in parts:
            os.write(pipe.write_end, part)

    assert [got.key for got in read_all(reader)] == [1, 2, 3]


def test_what_a_dead_writer_had_begun_is_forgotten(pipe, reader):
    os.write(pipe.write_end, encode(LONG, 7)[0])
    os.write(pipe.write_end, encode(LONG, 8)[0])
    records = read_all(reader)

    reader.forget(7)

    assert records == []
    assert [pid for pid, _ in reader._partial] == [8]


def test_what_cannot_be_decoded_does_not_stop_the_next_one(pipe, reader, losses):
    header = _pipe._HEADER.pack(4, 0, 7, 0)

    before, after = record("started", 1), record("ended", 1)
    for frame in (*encode(before, 7), header + b"\xffbad", *encode(after, 7)):
        os.write(pipe.write_end, frame)

    assert read_all(reader) == [before, after]
    assert losses.counts() == {"internal": 1}


def test_what_waits_in_the_pipe_is_known(pipe, reader):
    before = reader.waiting()
    parts = encode(LONG, 7)
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
