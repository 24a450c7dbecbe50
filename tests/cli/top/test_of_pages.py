"""What `huey-otel top` says of now, from the pages of consumers."""

from collections.abc import Sequence

from huey_otel import _names as n
from huey_otel.cli.top.of_pages import fleet, periodic, running
from huey_otel.cli.top.pages import ConsumerPage
from huey_otel.cli.top.snapshot import Fleet, Periodic, Running

NOW = 1_764_000_000.0
Sample = tuple[str, dict[str, str], float]


def page(
    *samples: Sample,
    consumer: str = "web-1:41",
    age: float = 0.0,
    silent: bool = False,
    ended: bool = False,
    started: float = NOW - 90_000,
) -> ConsumerPage:
    found: dict[str, list[tuple[dict[str, str], float]]] = {
        n.CONSUMER_START_TIME: [({"queue": "shop"}, started)]
    }
    for name, labels, value in samples:
        found.setdefault(name, []).append(({"queue": "shop", **labels}, value))
    return ConsumerPage(
        consumer=consumer, made=NOW - age, silent=silent, ended=ended, found=found
    )


def workers(many: int, busy: int) -> Sequence[Sample]:
    kind = {"worker_type": "thread"}
    return [(n.WORKERS, kind, many), (n.WORKERS_BUSY, kind, busy)]


def test_consumers_are_those_that_live_and_silent_ones_are_named():
    stuck = (n.CONSUMER_STUCK, {"reason": "dequeue"}, 1.0)
    well = (n.CONSUMER_STUCK, {"reason": "scheduler"}, 0.0)

    found = fleet(
        [
            page(*workers(4, 3), stuck, well),
            page(*workers(4, 1), consumer="web-2:7", age=3),
            page(*workers(4, 4), consumer="web-3:7", age=40, silent=True),
            page(consumer="web-4:7", age=400, silent=True),
            page(consumer="web-5:7", age=300, silent=True, ended=True),
            page(consumer="web-6:7", ended=True),
        ],
        NOW,
    )

    assert found == Fleet(
        consumers=2,
        workers=8,
        busy=4,
        silent=[("web-4:7", 400.0), ("web-3:7", 40.0)],
        stuck=[("web-1:41", "dequeue")],
    )


def test_what_runs_longest_comes_first_and_has_aged_since_the_page_was_made():
    export = {"task": "app.export"}
    pages = [
        page((n.TASK_RUNNING_AGE, export, 10.0)),
        page((n.TASK_RUNNING_AGE, export, 9.0), consumer="web-2:7", age=4),
        page((n.TASK_RUNNING_AGE, export, 900.0), consumer="web-3:7", silent=True),
    ]

    assert running(pages, NOW) == [
        Running(task="app.export", consumer="web-2:7", age=13.0),
        Running(task="app.export", consumer="web-1:41", age=10.0),
    ]


NIGHTLY = {"task": "app.nightly"}
DAY = 86_400.0


def due(at: float) -> Sequence[Sample]:
    return [
        (n.PERIODIC_NEXT_RUN, NIGHTLY, at),
        (n.PERIODIC_INTERVAL, NIGHTLY, DAY),
    ]


def late(*pages: ConsumerPage) -> list[bool]:
    return [one.late for one in periodic(pages, NOW)]


def test_periodic_task_says_when_it_last_succeeded_anywhere_and_is_due_next():
    first = page(*due(NOW + 3_600), (n.TASK_LAST_SUCCESS, NIGHTLY, NOW - 200_000))
    second = page(*due(NOW + 3_600), (n.TASK_LAST_SUCCESS, NIGHTLY, NOW - 80_000))

    assert periodic([first, second], NOW) == [
        Periodic(
            task="app.nightly",
            succeeded=NOW - 80_000,
            due=NOW + 3_600,
            late=False,
        )
    ]


def test_periodic_task_is_late_if_it_has_not_succeeded_since_it_was_due():
    missed = page(*due(NOW + DAY - 300), (n.TASK_LAST_SUCCESS, NIGHTLY, NOW - DAY))

    assert late(missed) == [True]


def test_periodic_task_is_not_late_while_it_may_still_wait_or_runs():
    before = (n.TASK_LAST_SUCCESS, NIGHTLY, NOW - DAY)
    waits = page(*due(NOW + DAY - 60), before)
    runs = page(*due(NOW + DAY - 3_000), before, (n.TASKS_IN_PROGRESS, NIGHTLY, 1.0))

    assert (late(waits), late(runs)) == ([False], [False])


def test_periodic_task_is_not_late_if_no_consumer_was_there_when_it_was_due():
    young = page(*due(NOW + DAY - 3_000), started=NOW - 1_000)
    old = page(*due(NOW + DAY - 3_000))

    assert (late(young), late(old)) == ([False], [True])


def test_late_ones_come_first():
    other = {"task": "app.hourly"}
    pages = [
        page(
            *due(NOW + DAY - 3_000),
            (n.PERIODIC_NEXT_RUN, other, NOW + 60),
            (n.PERIODIC_INTERVAL, other, 3_600.0),
            (n.TASK_LAST_SUCCESS, other, NOW - 10),
        )
    ]

    assert [one.task for one in periodic(pages, NOW)] == ["app.nightly", "app.hourly"]
