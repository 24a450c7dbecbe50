"""The overflow: what becomes of records that do not fit."""

import math

import pytest

from huey_otel._options.buckets import DURATION_BUCKETS, WAIT_BUCKETS
from huey_otel._relay.overflow import Overflow, rounded_up
from huey_otel._wire.record import Record, TaskFacts

pytestmark = pytest.mark.once


def ended(name, outcome, final, duration, *, source=1):
    facts = tuple(TaskFacts("id", name.rpartition(".")[2], name, 0, None, 1))
    extra = {"outcome": outcome, "final": final, "duration": duration}
    return Record(source, "ended", 1.0, 2, 3, "Worker-1", facts, 0, extra)


def summed(status, name, extra, *, source=1, at=1.0):
    """A record that sums up, with all that metrics count by."""
    facts = None if name is None else tuple(TaskFacts("", "", name, None, None, 0))
    keyed = dict.fromkeys(("outcome", "final", "exception", "origin", "reason"))
    return Record(source, status, at, 2, 0, None, facts, None, {**keyed, **extra})


def of_all(*records):
    overflow = Overflow()
    for one in records:
        overflow.add(one)
    return overflow.take()


def test_records_that_differ_in_numbers_become_one():
    taken = of_all(
        ended("app.a", "success", "success", 0.5),
        ended("app.a", "success", "success", 1.5),
        ended("app.a", "error", None, 2.0),
        ended("app.b", "success", "success", 4.0),
        ended("app.b", "success", "success", 8.0, source=2),
    )

    good = {"outcome": "success", "final": "success"}
    two = {"number": 2, "count": 2, "values": {0.5: 1, 1.5: 1}, "duration": 2.0}

    def one(seconds):
        return {"number": 1, "count": 1, "values": {seconds: 1}, "duration": seconds}

    assert taken == [
        summed("ended", "app.a", {**good, **two}),
        summed("ended", "app.a", {"outcome": "error", **one(2.0)}),
        summed("ended", "app.b", {**good, **one(4.0)}),
        summed("ended", "app.b", {**good, **one(8.0)}, source=2),
    ]
    assert all(record.sums_up for record in taken)


def test_what_was_taken_is_gone():
    overflow = Overflow()
    overflow.add(ended("app.a", "success", "success", 0.5))
    full = bool(overflow)

    overflow.take()

    assert full is True
    assert bool(overflow) is False
    assert overflow.take() == []


def test_steps_without_a_task_and_with_a_count_are_summed():
    extra = {"exception": "OSError", "traceback": "...", "count": 41}
    record = Record(1, "error-dequeueing", 1.0, 2, 0, None, None, None, extra)

    taken = of_all(
        record,
        record._replace(extra={"exception": "OSError"}),
        record._replace(status="checking-periodic", timestamp=2.0, extra=None),
    )

    failures = {"exception": "OSError", "number": 2, "count": 42, "values": {}}
    assert taken == [
        summed("error-dequeueing", None, failures),
        summed(
            "checking-periodic", None, {"number": 1, "count": 1, "values": {}}, at=2.0
        ),
    ]


def test_what_is_counted_by_is_kept_apart():
    facts = tuple(TaskFacts("id", "a", "app.a", 0, None, 1))
    record = Record(1, "accepted", 1.0, 2, 3, None, facts, 0, {"origin": "call"})

    taken = of_all(record, record._replace(extra={"origin": "scheduled", "late": 0.25}))

    numbers = {"number": 1, "count": 1}
    late = {"values": {0.25: 1}, "late": 0.25}
    assert taken == [
        summed("accepted", "app.a", {"origin": "call", **numbers, "values": {}}),
        summed("accepted", "app.a", {"origin": "scheduled", **numbers, **late}),
    ]


def test_past_the_bound_tasks_are_not_told_apart():
    tasks = 12_000

    taken = of_all(
        *(ended(f"app.{one}", "success", "success", 1.0) for one in range(tasks))
    )

    assert len(taken) == 10_001
    assert sum(record.extra["number"] for record in taken) == tasks
    assert taken[-1].facts is None
    assert taken[-1].extra["values"] == {1.0: 2_000}


@pytest.mark.parametrize("bound", [*DURATION_BUCKETS, *WAIT_BUCKETS, 0.000123])
def test_rounded_seconds_stay_on_their_side_of_a_bound(bound):
    near = [math.nextafter(bound, 0), bound, math.nextafter(bound, math.inf)]

    rounded = [rounded_up(seconds, digits=3) for seconds in near]

    assert [seconds <= bound for seconds in rounded] == [True, True, False]


@pytest.mark.parametrize(
    ("seconds", "rounded"),
    [(0.0, 0.0), (1e-9, 1e-6), (9.991, 10.0), (1234.5, 1240.0), (3600.0, 3600.0)],
)
def test_seconds_are_rounded_up_to_three_digits(seconds, rounded):
    assert rounded_up(seconds, digits=3) == rounded


def test_different_seconds_are_bounded_and_still_counted():
    taken = of_all(
        *(
            ended(f"app.task{one % 100}", "success", None, 1.0 + one / 30_000)
            for one in range(30_000)
        )
    )

    values = [record.extra["values"] for record in taken]
    assert sum(map(len, values)) <= 20_000 + 100 * 2
    assert sum(sum(some.values()) for some in values) == 30_000
