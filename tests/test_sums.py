"""Sums: what becomes of records that do not fit."""

from huey_otel._records import Record, TaskFacts
from huey_otel._sums import Sums


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

    assert sums.take() == [
        ((1, "ended", "app.a", "success", "success", None), [2, 2.0]),
        ((1, "ended", "app.a", "error", None, None), [1, 2.0]),
        ((1, "ended", "app.b", "success", "success", None), [1, 4.0]),
        ((2, "ended", "app.b", "success", "success", None), [1, 8.0]),
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
    sums.fold(record._replace(status="checking-periodic", extra=None))

    assert sums.take() == [
        ((1, "error-dequeueing", None, None, None, "OSError"), [42, 0.0]),
        ((1, "checking-periodic", None, None, None, None), [1, 0.0]),
    ]


def test_past_the_bound_tasks_are_not_told_apart():
    sums = Sums()
    tasks = 12_000

    for number in range(tasks):
        sums.fold(ended(f"app.{number}", "success", "success", 1.0))

    taken = sums.take()
    rest = dict(taken)[(1, "ended", None, "success", "success", None)]
    assert len(taken) == 10_001
    assert sum(total[0] for _, total in taken) == tasks
    assert rest == [2_000, 2_000.0]
