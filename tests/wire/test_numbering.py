"""The numbering: the name of an output of events, and the number of each event."""

import json
import os
import socket
import time

import pytest

from huey_otel._relay.overflow import Overflow
from huey_otel._wire.numbering import Numbering
from huey_otel._wire.record import Source
from huey_otel.mapping import TABLE
from tests.support.relays import record

SOURCE = Source(queue="my-app", host="h1")


def numbers(numbering, *records):
    """The number of the event that each record is, None for no event."""
    events = [numbering.event_of(one, SOURCE) for one in records]
    return [event and json.loads(event)["seq"] for event in events]


def test_a_publisher_is_named_by_its_host_its_process_and_its_start():
    before = time.time_ns() // 1_000
    numbering = Numbering()
    event = json.loads(numbering.event_of(record("started", 1), SOURCE))

    host, pid, started = event["publisher"].rsplit(":", 2)

    assert (host, pid) == (socket.gethostname(), str(os.getpid()))
    assert before <= int(started) <= before + 10_000_000


def test_publishers_that_start_in_the_same_microsecond_have_different_names(
    monkeypatch,
):
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_346_713_638_000_000)

    assert len({Numbering().publisher for _ in range(1_000)}) == 1_000


def test_each_publisher_numbers_its_own_events():
    one, another = Numbering(), Numbering()

    assert numbers(one, record("started", 1), record("finished", 1)) == [1, 2]
    assert numbers(another, record("started", 1)) == [1]
    assert numbers(one, record("started", 1)) == [3]


@pytest.mark.parametrize("status", TABLE)
def test_what_is_published_has_a_number_and_nothing_else_has(status):
    numbering = Numbering()

    expected = [1, 2] if TABLE[status].is_event else [None, 1]

    assert numbers(numbering, record(status, 1), record("started", 1)) == expected


def test_a_record_that_sums_up_advances_the_number_by_what_it_stands_for():
    overflow = Overflow()
    for key in range(1, 6):
        overflow.add(record("started", key, wait=0.5))
        overflow.add(record("ended", key, duration=0.5))
    for _ in range(2):
        # One event, although it reports several errors.
        overflow.add(record("error-dequeueing", 0, count=50))
    numbering = Numbering()

    told = numbers(
        numbering, record("started", 1), *overflow.take(), record("finished", 1)
    )

    assert told == [1, None, None, None, 1 + 5 + 2 + 1]


def test_an_event_that_cannot_be_spelled_leaves_a_gap():
    class Unspeakable:
        def __str__(self):
            raise ValueError("no")

    numbering = Numbering()

    with pytest.raises(ValueError, match="no"):
        numbering.event_of(record("started", 1, wait=Unspeakable()), SOURCE)

    assert numbers(numbering, record("started", 1)) == [2]
