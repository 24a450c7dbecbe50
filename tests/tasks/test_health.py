"""What a consumer says of its health, with workers in each state."""

import gc
import threading
import time
from collections.abc import Iterator

import pytest
from huey.api import Huey
from huey.consumer import Consumer

from huey_otel._tasks.workers import Health
from tests.support.waiting import wait_until

INTERVAL = 0.05


@pytest.fixture
def consumer(huey: Huey) -> Iterator[Consumer]:
    """One with a scheduler and a worker that live until the test's end."""
    consumer = huey.create_consumer(workers=1, health_check_interval=INTERVAL)
    consumer.scheduler.start()
    consumer.worker_threads[0][1].start()
    yield consumer
    consumer.stop_flag.set()
    consumer.scheduler.join()


def dead() -> threading.Thread:
    return threading.Thread()


def put(consumer: Consumer, *workers: threading.Thread) -> None:
    """Let *workers* be those that the consumer has."""
    consumer.worker_threads = [(None, worker) for worker in workers]


def test_a_consumer_whose_workers_live_is_well(consumer: Consumer) -> None:
    assert Health(consumer)() is None


def test_a_worker_dead_for_over_two_checks_is_named(consumer: Consumer) -> None:
    health = Health(consumer)
    put(consumer, consumer.worker_threads[0][1], dead(), dead())

    first = health()
    wait_until(lambda: health() is not None)

    assert first is None
    assert health() == "dead: Worker-2, Worker-3"


def test_a_dead_worker_is_named_at_once_without_health_checks(
    consumer: Consumer,
) -> None:
    consumer._health_check = False
    put(consumer, dead())

    assert Health(consumer)() == "dead: Worker-1"


def test_a_worker_that_died_later_has_not_been_dead_as_long(consumer: Consumer) -> None:
    """Also where it has the address in memory of one that was dead before it."""
    health = Health(consumer)
    first = dead()
    address = id(first)
    put(consumer, first)
    began = time.monotonic()
    before = health()
    wait_until(lambda: time.monotonic() - began > 3 * INTERVAL)

    put(consumer)
    del first
    gc.collect()
    later = [dead() for _ in range(100)]
    put(consumer, *sorted(later, key=lambda one: id(one) != address)[:1])

    assert (before, health()) == (None, None)


def test_a_worker_that_a_stop_has_ended_is_not_dead(
    consumer: Consumer,
) -> None:
    consumer._health_check = False
    put(consumer, dead())
    health = Health(consumer)

    health.stopping = True

    assert health() is None
