"""The rates of `huey-otel top`, from pages that follow each other."""

import math
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry, Histogram

from huey_otel import _names as n
from huey_otel.cli.top.pages import ConsumerPage
from huey_otel.cli.top.rates import Rates, quantile
from huey_otel.cli.top.snapshot import Rate

NOW = 1_764_000_000.0


def page(
    made: float,
    done: Mapping[str, tuple[int, int]],
    *,
    consumer: str = "web-1:7",
    started: float = NOW - 1_000,
    ended: bool = False,
) -> ConsumerPage:
    """A page with how many of each task succeeded and failed, each in 0.1 to 0.2 s."""
    finished, buckets = [], []
    for task, (succeeded, failed) in done.items():
        labels = {"queue": "shop", "task": task}
        finished += [
            (labels | {"outcome": "success"}, float(succeeded)),
            (labels | {"outcome": "failure"}, float(failed)),
        ]
        for bound in ("0.1", "0.2", "+Inf"):
            count = 0.0 if bound == "0.1" else float(succeeded + failed)
            buckets.append((labels | {"le": bound}, count))
    found = {
        n.TASKS_FINISHED_TOTAL: finished,
        f"{n.TASK_DURATION_SECONDS}_bucket": buckets,
        n.CONSUMER_START_TIME: [({"queue": "shop"}, started)],
    }
    return ConsumerPage(
        consumer=consumer, made=made, silent=False, ended=ended, found=found
    )


def rates(*looks: list[ConsumerPage]) -> tuple[float | None, list[Rate]]:
    known = Rates()
    for pages in looks:
        known.take(pages)
    window, found = known.rates(looks[-1])
    return window, list(found)


def test_first_look_tells_of_all_that_was_since_each_consumer_started():
    assert rates([page(NOW, {"app.add": (900, 100)})]) == (
        None,
        [Rate(task="app.add", done=60.0, failed=0.1, p95=0.195)],
    )


def test_later_looks_tell_of_what_was_between_them():
    first = page(NOW, {"app.add": (900, 100)})
    second = page(NOW + 5, {"app.add": (910, 100)})

    assert rates([first], [first], [second]) == (
        5.0,
        [Rate(task="app.add", done=120.0, failed=0.0, p95=0.195)],
    )


def test_it_is_over_the_last_minute_at_most():
    looks = [
        [page(NOW + 5 * at, {"app.add": (10 * at if at < 50 else 500, 0)})]
        for at in range(100)
    ]

    assert rates(*looks[:40]) == (
        60.0,
        [Rate(task="app.add", done=120.0, failed=0.0, p95=0.195)],
    )
    assert rates(*looks) == (60.0, [])


def test_consumers_add_up_and_one_that_is_young_counts_from_its_start():
    old = [page(NOW + at, {"app.add": (900 + at, 0)}) for at in (0, 5)]
    young = page(NOW + 5, {"app.add": (1, 1)}, consumer="web-2:8", started=NOW - 15)

    assert rates([old[0]], [old[1], young]) == (
        20.0,
        [Rate(task="app.add", done=60.0 + 6.0, failed=1 / 7, p95=0.195)],
    )


def test_what_consumers_did_that_have_ended_counts_for_its_minute():
    first = page(NOW, {"app.add": (10, 0)})
    last = page(NOW + 5, {"app.add": (20, 0)}, ended=True)

    assert rates([first], [last])[1][0].done == 120.0
    assert rates([last]) == (None, [])


def test_what_fails_most_comes_first():
    done = {"app.a": (10, 0), "app.b": (5, 5), "app.c": (30, 0)}

    _, found = rates([page(NOW, done)])

    assert [one.task for one in found] == ["app.b", "app.c", "app.a"]


def test_consumers_that_are_gone_are_forgotten():
    known = Rates()
    for at in range(100):
        known.take([page(NOW + at, {"app.add": (1, 0)}, consumer=f"web:{at}")])

    assert len(known._seen) == 1


def test_quantile_is_within_its_bucket():
    registry = CollectorRegistry()
    histogram = Histogram("h", "h", buckets=[1, 2, 4], registry=registry)
    for value in (0.5, 1.5, 1.5, 3.0):
        histogram.observe(value)
    (family,) = registry.collect()
    buckets = {
        float(one.labels["le"]): one.value
        for one in family.samples
        if one.name == "h_bucket"
    }

    assert quantile(0.5, buckets) == 1.5
    assert quantile(0.95, buckets) == pytest.approx(3.6)
    assert quantile(0.95, {}) is None
    assert quantile(0.95, {1.0: 0.0, math.inf: 0.0}) is None
    assert quantile(0.95, {1.0: 0.0, math.inf: 4.0}) == 1.0
