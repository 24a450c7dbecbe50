"""Sums: what becomes of records that do not fit."""

import contextlib
import math

import pytest

from huey_otel import _names as n
from huey_otel._relay.overflow import Sums, rounded_up
from huey_otel._wire.record import Record, TaskFacts
from tests.support.interruptions import Interruption

pytestmark = pytest.mark.once


def ended(name, outcome, final, duration, *, source=1):
    facts = tuple(TaskFacts("id", name.rpartition(".")[2], name, 0, None, 1))
    extra = {"outcome": outcome, "final": final, "duration": duration}
    return Record(source, "ended", 1.0, 2, 3, None, facts, 0, extra)


def test_records_of_one_key_become_one_sum():
    sums = Sums()

    sums.fold(ended("app.a", "success", "success", 0.5))
    sums.fold(ended("app.a", "success", "success", 1.5))
    sums.fold(ended("app.a", "error", None, 2.0))
    sums.fold(ended("app.b", "success", "success", 4.0))
    sums.fold(ended("app.b", "success", "success", 8.0, source=2))

    good, bad = ("success", "success", None, None, None), ("error", *[None] * 4)
    assert sums.take() == [
        ((1, "ended", "app.a", *good), (2, 2, 1.0, 2.0, {0.5: 1, 1.5: 1})),
        ((1, "ended", "app.a", *bad), (1, 1, 1.0, 2.0, {2.0: 1})),
        ((1, "ended", "app.b", *good), (1, 1, 1.0, 4.0, {4.0: 1})),
        ((2, "ended", "app.b", *good), (1, 1, 1.0, 8.0, {8.0: 1})),
    ]


def test_what_was_taken_is_gone():
    sums = Sums()
    sums.fold(ended("app.a", "success", "success", 0.5))
    full = bool(sums)

    sums.take()

    assert full is True
    assert bool(sums) is False
    assert sums.take() == []


def test_steps_without_a_task_and_with_a_count_are_summed():
    sums = Sums()
    extra = {"exception": "OSError", "traceback": "...", "count": 41}
    record = Record(1, "error-dequeueing", 1.0, 2, 0, None, None, None, extra)

    sums.fold(record)
    sums.fold(record._replace(extra={"exception": "OSError"}))
    sums.fold(record._replace(status="checking-periodic", timestamp=2.0, extra=None))

    assert sums.take() == [
        (
            (1, "error-dequeueing", None, None, None, "OSError", None, None),
            (2, 42, 1.0, 0.0, {}),
        ),
        ((1, "checking-periodic", None, *[None] * 5), (1, 1, 2.0, 0.0, {})),
    ]


def test_what_is_counted_by_is_kept_apart():
    sums = Sums()
    facts = tuple(TaskFacts("id", "a", "app.a", 0, None, 1))
    record = Record(1, "accepted", 1.0, 2, 3, None, facts, 0, {"origin": "call"})

    sums.fold(record)
    sums.fold(record._replace(extra={"origin": "scheduled", "late": 0.25}))

    assert sums.take() == [
        (
            (1, "accepted", "app.a", None, None, None, "call", None),
            (1, 1, 1.0, 0.0, {}),
        ),
        (
            (1, "accepted", "app.a", None, None, None, "scheduled", None),
            (1, 1, 1.0, 0.25, {0.25: 1}),
        ),
    ]


def test_past_the_bound_tasks_are_not_told_apart():
    sums = Sums()
    tasks = 12_000

    for number in range(tasks):
        sums.fold(ended(f"app.{number}", "success", "success", 1.0))

    taken = sums.take()
    rest = dict(taken)[(1, "ended", None, "success", "success", None, None, None)]
    assert len(taken) == 10_001
    assert sum(total[0] for _, total in taken) == tasks
    assert rest == (2_000, 2_000, 1.0, 2_000.0, {1.0: 2_000})


@pytest.mark.parametrize("bound", [*n.DURATION_BUCKETS, *n.WAIT_BUCKETS, 0.000123])
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
    sums = Sums()
    for number in range(30_000):
        seconds = 1.0 + number / 30_000
        name = f"app.task{number % 100}"
        sums.fold(ended(name, "success", None, seconds))
    totals = [total for _, total in sums.take()]

    assert sum(len(values) for *_, values in totals) <= 20_000 + 100 * 2
    assert sum(sum(values.values()) for *_, values in totals) == 30_000


def test_a_record_is_summed_up_wholly_or_not_at_all_whatever_interrupts_it():
    class AlarmError(Exception):
        pass

    runs = []
    while not runs or runs[-1].happened:
        sums = Sums()
        runs.append(Interruption(len(runs), AlarmError()))
        with contextlib.suppress(AlarmError), runs[-1]:
            for _ in range(2):
                sums.fold(ended("app.a", "success", "success", 0.5))

        for _, (number, reported, _, seconds, values) in sums.take():
            assert number in (1, 2)
            assert (reported, seconds, values) == (number, number / 2, {0.5: number})
        assert not sums

    assert len(runs) > 20
