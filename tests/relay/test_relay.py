"""The relay: from where a record happens to where it is handled, in order, once."""

import contextlib
import os
import threading
import time
from types import SimpleNamespace

import pytest

from huey_otel._relay import relay as _relay
from huey_otel._relay.relay import Relay
from tests.support.forks import open_descriptors
from tests.support.interruptions import Interruption
from tests.support.relays import Got, end, gone, record, relay_threads
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once


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

    flushed = relay.flush(0.05)
    got.delay.set()

    assert flushed is False
    assert relay.flush(5.0) is True


def test_records_past_the_limit_are_summed_up_unless_they_must_arrive(
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
def test_after_an_interrupt_in_any_line_the_next_record_wakes_the_relay(started):
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


def test_a_waker_that_was_closed_is_replaced(relay, got, losses, caplog):
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


def test_a_pipe_that_was_closed_is_given_up_and_counted_once(relay, got, losses):
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
