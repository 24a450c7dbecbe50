"""What a consumer says of its health, with workers in each state."""

import gc
import threading
import time
from collections.abc import Iterator

import pytest
from huey.api import Huey
from huey.consumer import Consumer

from huey_otel._prometheus.consumers import Limits
from huey_otel._tasks.health import Health
from tests.support.forks import said_in_child
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


def health_of(consumer: Consumer, **stuck: str) -> Health:
    """Its health where *stuck* are the reasons why it is stuck, with their texts."""
    return Health(consumer, lambda _: stuck)


def put(consumer: Consumer, *workers: threading.Thread) -> None:
    """Let *workers* be those that the consumer has."""
    consumer.worker_threads = [(None, worker) for worker in workers]


def test_a_consumer_whose_workers_live_is_well(consumer: Consumer) -> None:
    assert health_of(consumer)() is None


def test_a_worker_dead_for_over_two_checks_is_named(consumer: Consumer) -> None:
    health = health_of(consumer)
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

    assert health_of(consumer)() == "dead: Worker-1"


def test_a_worker_that_died_later_has_not_been_dead_as_long(consumer: Consumer) -> None:
    """Also where it has the address in memory of one that was dead before it."""
    health = health_of(consumer)
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
    health = health_of(consumer)

    health.stopping = True

    assert health() is None


def test_what_is_stuck_is_told_beside_the_dead_where_limits_are_given(
    consumer: Consumer,
) -> None:
    consumer._health_check = False
    put(consumer, dead())
    health = health_of(consumer, worker="does not look: Worker-2", busy="is busy")

    assert health() == "dead: Worker-1"
    assert health(Limits(1.0)) == (
        "dead: Worker-1; stuck, does not look: Worker-2; stuck, is busy"
    )


def test_a_consumer_that_stops_is_not_stuck(consumer: Consumer) -> None:
    health = health_of(consumer, worker="does not look: Worker-1")

    health.stopping = True

    assert (health(Limits(1.0)), health.stuck(Limits(1.0))) == (None, {})


def test_a_child_that_a_task_forks_has_no_consumer_of_its_own(
    consumer: Consumer,
) -> None:
    health = health_of(consumer, worker="does not look: Worker-1")

    said = said_in_child(lambda: str(health.stuck(Limits(1.0))))

    assert said == "{}"
