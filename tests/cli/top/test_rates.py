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
    silent: bool = False,
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
    }
    if not ended:
        # The last page has no gauges.
        found[n.CONSUMER_START_TIME] = [({"queue": "shop"}, started)]
    return ConsumerPage(
        consumer=consumer, made=made, silent=silent, ended=ended, found=found
    )


def rates(
    *looks: list[ConsumerPage], now: float | None = None
) -> tuple[float | None, list[Rate]]:
    """What is told at *now*, by default when the last page was made."""
    known = Rates()
    for pages in looks:
        known.take(pages)
    made = max(one.made for one in looks[-1])
    window, found = known.rates(looks[-1], made if now is None else now)
    return window, list(found)


def done(*looks: list[ConsumerPage], now: float | None = None) -> float:
    """How many tasks were done in a minute, of all kinds."""
    return sum(one.done for one in rates(*looks, now=now)[1])


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


def test_consumers_add_up():
    looks = [
        [
            page(NOW + at, {"app.add": (900 + at, 0)}),
            page(NOW + at, {"app.add": (at, at)}, consumer="web-2:8"),
        ]
        for at in range(0, 65, 5)
    ]

    assert rates(*looks) == (
        60.0,
        [Rate(task="app.add", done=180.0, failed=1 / 3, p95=0.195)],
    )


@pytest.mark.parametrize("lived", [0.0, 0.01, 5.0, 30.0, 60.0])
def test_what_a_young_consumer_did_was_in_the_last_minute(lived):
    young = page(NOW, {"app.add": (20, 0)}, started=NOW - lived)

    assert rates([young]) == (
        60.0,
        [Rate(task="app.add", done=20.0, failed=0.0, p95=0.195)],
    )


@pytest.mark.parametrize("started", [NOW + 3_600, NOW + 1])
def test_a_consumer_cannot_start_in_the_future(started):
    assert done([page(NOW, {"app.add": (20, 0)}, started=started)]) == 20.0


@pytest.mark.parametrize("ended", [False, True])
def test_what_consumers_did_that_are_gone_counts_for_its_minute(ended):
    looks = [[page(NOW + at, {"app.add": (at, 0)})] for at in range(0, 65, 5)]
    gone = page(NOW + 60, {"app.add": (60, 0)}, silent=not ended, ended=ended)
    looks[-1] = [gone]

    assert [done(*looks, now=NOW + at) for at in (60, 90, 115, 120, 500)] == [
        *(60.0, 30.0, 5.0, 0.0, 0.0)
    ]


def test_consumer_that_is_restarted_under_its_name_counts_from_its_start():
    before = [page(NOW + at, {"app.add": (900 + at, 0)}) for at in (0, 5, 10)]
    after = page(NOW + 20, {"app.add": (7, 0)}, started=NOW + 12)
    other = page(NOW + 20, {"app.add": (20, 0)}, consumer="web-2:8", started=NOW)

    assert done(*[[one] for one in before], [after]) == 7.0
    assert done(*[[one] for one in before], [after, other]) == 27.0


def test_what_a_young_consumer_did_that_ends_still_counts():
    young = page(NOW, {"app.add": (25, 0)}, started=NOW - 10)
    gone = page(NOW + 3, {"app.add": (30, 0)}, ended=True)

    told = [done([young], [gone], now=NOW + at) for at in (3, 49)]
    assert told == [30.0, 30.0]
    assert done([young], [gone], now=NOW + 70) == 0.0


def test_what_a_consumer_did_whose_end_alone_was_seen_is_not_known():
    gone = page(NOW, {"app.add": (8, 0)}, ended=True)
    young = page(NOW, {"app.add": (5, 0)}, consumer="web-2:8", started=NOW - 9)

    assert rates([gone]) == (None, [])
    assert done([gone, young]) == 5.0


def test_a_fleet_that_is_replaced_does_no_more_than_it_does():
    """Each does a task a second; after 60 s another one goes on."""

    def looked(at: int) -> list[ConsumerPage]:
        old = min(at, 60)
        pages = [page(NOW + old, {"app.add": (900 + old, 0)}, ended=at >= 60)]
        if at >= 60:
            pages.append(
                page(
                    NOW + at,
                    {"app.add": (at - 60, 0)},
                    consumer="web-2:8",
                    started=NOW + 60,
                )
            )
        return pages

    looks = [looked(at) for at in range(0, 200, 5)]

    for at in range(13, 40):
        assert done(*looks[:at], now=NOW + 5 * (at - 1)) == pytest.approx(60, abs=6)


def test_pages_that_are_rare_are_scaled_to_a_minute():
    looks = [[page(NOW + 200 * at, {"app.add": (100 * at, 0)})] for at in range(3)]

    assert rates(*looks) == (
        200.0,
        [Rate(task="app.add", done=30.0, failed=0.0, p95=0.195)],
    )


def test_until_all_are_known_it_says_that_it_is_since_their_start():
    old = [page(NOW, {"app.add": (1_000, 0)})]
    young = page(NOW, {"app.add": (5, 0)}, consumer="web-2:8", started=NOW - 9)

    assert rates([*old, young])[0] is None
    assert done([*old, young]) == 65.0


def test_pages_of_each_second_are_not_all_kept():
    known = Rates()
    looks = [page(NOW + at, {"app.add": (900 + at, 0)}) for at in range(200)]
    for one in looks:
        known.take([one])

    assert len(known._seen["web-1:7"]) <= 62 / 4 + 2
    window, (rate,) = known.rates([looks[-1]], looks[-1].made)
    assert (window, rate.done) == (60.0, pytest.approx(60, abs=2))


def test_tasks_of_which_nothing_changed_take_no_memory():
    known = Rates()
    for at in range(0, 65, 5):
        known.take([page(NOW + at, {"app.add": (at, 0), "app.idle": (7, 0)})])

    seen = known._seen["web-1:7"]
    assert len({id(one.counts["app.idle"]) for one in seen}) == 1
    assert len({id(one.counts["app.add"]) for one in seen}) == len(seen)


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
