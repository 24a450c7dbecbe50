"""The outbox of log records: batches, bounds, and that each event is settled once."""

import threading

import pytest

from huey_otel._otel import log_outbox
from huey_otel._otel.log_outbox import BATCH, LogOutbox, Numbered
from huey_otel._wire.record import Record, Source
from tests.support.waiting import wait_until

SOURCE = Source(queue="my-app", host="h1")


def event(seq=1, traceback=None):
    extra = None if traceback is None else {"traceback": traceback}
    return Numbered(Record(1, "started", 1.5, 42, 1, None, None, 2, extra), SOURCE, seq)


@pytest.fixture
def outbox():
    return LogOutbox()


def settle(outbox, arrived, lost=0):
    """Settle events; how many of both were not settled."""
    with outbox.settling(arrived, lost) as settled:
        return settled


def seqs(events):
    return [one.seq for one in events]


def waiting_for(outbox):
    """A thread that waits for the next batch, and what it took."""
    taken = []
    thread = threading.Thread(
        target=lambda: taken.append(seqs(outbox.take()) if outbox.wait() else None)
    )
    thread.start()
    return thread, taken


def test_a_full_batch_is_due_at_once_and_the_rest_later(outbox, monkeypatch):
    monkeypatch.setattr(log_outbox, "DELAY", 60)
    for seq in range(BATCH + 3):
        outbox.put(event(seq))

    assert outbox.wait()
    assert seqs(outbox.take()) == [*range(BATCH)]
    assert settle(outbox, BATCH) == (BATCH, 0)

    thread, taken = waiting_for(outbox)
    outbox.hurry()
    thread.join(10)
    assert taken == [[BATCH, BATCH + 1, BATCH + 2]]


def test_the_first_event_waits_for_others(outbox, monkeypatch):
    monkeypatch.setattr(log_outbox, "DELAY", 60)
    thread, taken = waiting_for(outbox)
    for seq in range(BATCH):
        outbox.put(event(seq))

    thread.join(10)

    assert taken == [[*range(BATCH)]]


def test_the_first_event_does_not_wait_for_ever(outbox, monkeypatch):
    monkeypatch.setattr(log_outbox, "DELAY", 0.01)
    thread, taken = waiting_for(outbox)
    outbox.put(event(5))

    thread.join(10)

    assert taken == [[5]]


def test_a_flush_waits_until_all_are_settled(outbox, monkeypatch):
    monkeypatch.setattr(log_outbox, "DELAY", 60)
    outbox.put(event(1))
    thread, taken = waiting_for(outbox)
    flushed = []
    flush = threading.Thread(target=lambda: flushed.append(outbox.flush(10)))
    flush.start()
    wait_until(lambda: taken == [[1]])

    assert (outbox.flush(0.0), flushed) == (False, [])
    settle(outbox, 1)
    flush.join(10)
    thread.join(10)
    assert (outbox.flush(0.0), flushed) == (True, [True])


def test_past_its_bytes_the_oldest_go(outbox, monkeypatch):
    monkeypatch.setattr(log_outbox, "LARGEST", 3 * event().size)

    dropped = [outbox.put(event(seq)) for seq in range(4)]
    more = outbox.put(event(4, "x" * event().size))

    assert (dropped, more) == ([0, 0, 0, 1], 2)
    assert seqs(outbox.take()) == [3, 4]


def test_what_close_counts_is_settled(outbox):
    for seq in range(5):
        outbox.put(event(seq))
    outbox.take()
    outbox.put(event(5))

    assert settle(outbox, 1, 1) == (1, 1)
    assert outbox.close() == 4
    assert settle(outbox, 1, 2) == (0, 0)
    assert outbox.put(event(6)) == 1
    assert (outbox.wait(), outbox.flush(0.0), outbox.close()) == (False, True, 0)


def test_a_flush_waits_for_what_is_being_counted(outbox):
    outbox.put(event(1))
    outbox.take()

    with outbox.settling(0, 1):
        flushed = outbox.flush(0.0)

    assert (flushed, outbox.flush(0.0)) == (False, True)
