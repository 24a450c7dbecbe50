"""How long workers have been busy: what saturation is made of."""

import time
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from huey_otel import _names as n
from huey_otel._relay.inflight import InFlight
from huey_otel._relay.overflow import Overflow
from tests.support.metrics import FORKING, SOURCE, consumer, feed, page, record, run
from tests.support.waiting import wait_until


@pytest.fixture
def busy(collector, registry: CollectorRegistry) -> Callable[[], float]:
    """The seconds of all workers of threads."""
    collector.add_consumer(1, consumer())

    def seconds() -> float:
        (shown,) = page(registry, n.WORKER_BUSY_SECONDS_TOTAL).values()
        return shown

    return seconds


def test_seconds_begin_at_0_and_are_those_of_all_attempts(collector, busy):
    before = busy()
    run(collector, key=1, duration=0.5)
    run(collector, key=2, outcome="error", final=None, duration=2.0)
    run(collector, key=3, outcome="locked", duration=0.25)

    assert (before, busy()) == (0, 2.75)


def test_attempt_that_runs_counts_until_now(collector, busy):
    run(collector, key=1, duration=100.0)
    before = time.monotonic()
    collector(record("started", key=2), SOURCE)
    after = time.monotonic()
    wait_until(lambda: busy() > 100.05)

    least = time.monotonic() - after
    seconds = busy() - 100
    most = time.monotonic() - before
    assert least <= seconds <= most


def test_seconds_never_go_back_when_an_attempt_ends(collector, busy):
    collector(record("started", key=1), SOURCE)
    wait_until(lambda: busy() > 0.05)
    running = busy()
    # The relay reads the end a moment after it, and a page was made meanwhile.
    collector(record("ended", key=1, outcome="success", duration=0.04), SOURCE)
    ended = busy()
    run(collector, key=2, duration=1.0)

    assert ended >= running
    assert busy() == pytest.approx(1.04)


def test_nested_attempts_do_not_count_twice(collector, busy):
    feed(
        collector,
        record("started", key=1),
        record("started", key=2),
        record("ended", key=2, outcome="success", duration=1.0),
        record("ended", key=1, outcome="success", duration=3.0),
        record("started", key=3, worker="Worker-2"),
        record("ended", key=3, worker="Worker-2", outcome="success", duration=4.0),
    )

    assert busy() == 7


def test_lost_attempt_counts_until_the_death_of_its_worker(collector, registry):
    collector.add_consumer(1, consumer(worker_type="process"))
    table = InFlight()
    popped = record("dequeued", key=2, worker="Worker-2", timestamp=1002.0)
    for one in (record("started", key=1, timestamp=1000.0), popped):
        collector(one, FORKING)
        table.apply(one)
    for one in table.apply(record("gone", key=0, worker=None, timestamp=1030.0)):
        collector(one, FORKING)

    labels = 'queue="shop",worker_type="process"'
    assert page(registry, n.WORKER_BUSY_SECONDS_TOTAL, n.WORKERS_BUSY) == {
        f"huey_worker_busy_seconds_total{{{labels}}}": 30,
        f"huey_workers_busy{{{labels}}}": 0,
    }


def test_attempt_whose_end_was_interrupted_counts_until_the_next_one(
    collector, busy, losses
):
    table = InFlight()
    first = record("started", key=1)
    before = time.monotonic()
    collector(first, SOURCE)
    table.apply(first)
    after = time.monotonic()
    wait_until(lambda: busy() > 0.05)
    following = record("started", key=2, after=1)
    least = time.monotonic() - after
    collector(following, SOURCE)
    feed(collector, *table.apply(following))
    most = time.monotonic() - before
    collector(record("ended", key=2, outcome="success", duration=5.0), SOURCE)

    assert least <= busy() - 5 <= most


def test_sums_count_like_their_records(collector, busy):
    overflow = Overflow()
    for key, seconds in ((1, 1.5), (2, 2.5)):
        overflow.add(record("started", key=key, wait=0.1))
        ended = {"outcome": "success", "final": "success", "duration": seconds}
        overflow.add(record("ended", key=key, **ended))
    feed(collector, *overflow.take())

    assert busy() == 4


def test_what_no_worker_runs_keeps_none_busy(collector, busy):
    feed(
        collector,
        record("started", key=1, worker=None),
        record("ended", key=1, worker=None, outcome="success", duration=3.0),
    )

    assert busy() == 0


def test_seconds_of_a_huey_that_is_removed_stay(collector, registry):
    collector.add_consumer(1, consumer())
    collector.add_consumer(2, consumer())
    run(collector, duration=2.0)
    collector.remove(1)

    assert page(registry, n.WORKER_BUSY_SECONDS_TOTAL) == {
        'huey_worker_busy_seconds_total{queue="shop",worker_type="thread"}': 2
    }
