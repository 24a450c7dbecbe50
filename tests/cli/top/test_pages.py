"""The pages of consumers as `huey-otel top` reads them: whatever may be in them."""

import time

import pytest

from huey_otel import _names as n
from huey_otel._wire.page import Head
from huey_otel.cli.exporter.stored import Stored
from huey_otel.cli.top import of_pages
from huey_otel.cli.top.pages import Pages
from huey_otel.cli.top.rates import Rates

NOW = 1_764_000_000.0
KINDS = (
    *((n.TASKS_FINISHED_TOTAL, 'outcome="success",queue="shop",task="a"'),),
    *((n.TASK_RUNNING_AGE, 'queue="shop",task="a"'),),
    *((n.TASKS_IN_PROGRESS, 'queue="shop",task="a"'),),
    *((n.TASK_LAST_SUCCESS, 'queue="shop",task="a"'),),
    *((n.PERIODIC_INTERVAL, 'queue="shop",task="a"'),),
    *((n.PERIODIC_NEXT_RUN, 'queue="shop",task="a"'),),
    *((n.WORKERS, 'queue="shop",worker_type="thread"'),),
    *((n.WORKERS_BUSY, 'queue="shop",worker_type="thread"'),),
    *((n.CONSUMER_STUCK, 'queue="shop",reason="dequeue"'),),
    *((n.CONSUMER_START_TIME, 'queue="shop"'),),
    *(
        (f"{n.TASK_DURATION_SECONDS}_bucket", f'le="{le}",queue="shop",task="a"')
        for le in ("0.1", "0.2", "+Inf", "abc", "NaN", "-1", "1e999", "")
    ),
)


def stored(text: str, *, age: float = 0.0, at: float | None = None) -> Stored:
    head = Head("shop", "web-1:7", 5.0, "0.1.0", at=at)
    return Stored("web-1:7", "web-1:7:1", head, text, age)


@pytest.mark.parametrize(
    "number",
    [
        "NaN",
        "+Inf",
        "-Inf",
        "1e308",
        "1e999",
        "-5",
        "0",
        "3",
        "1e14",
        "",
        "x",
        "9" * 40,
    ],
)
def test_whatever_numbers_a_page_has_all_that_is_shown_can_be(number):
    text = "".join(f"{name}{{{labels}}} {number}\n" for name, labels in KINDS)
    pages, rates = Pages(), Rates()

    for later in range(3):
        now = NOW + 5 * later
        found = pages.read([stored(f"{text}# {later}\n")], now)
        rates.take(found)
        fleet = of_pages.fleet(found, now)
        _, told = rates.rates(found, now)
        for moment in (one.due for one in of_pages.periodic(found, now)):
            time.localtime(moment)

        assert 0 <= fleet.busy <= 1e15
        assert all(0 < one.done <= 1e17 for one in told)
        assert all(abs(one.age) <= 1e16 for one in of_pages.running(found, now))


@pytest.mark.parametrize("task", ["a # {b", "} 7 # {", 'quo\\"te', "back\\\\slash"])
def test_a_task_may_be_called_as_what_a_line_is_made_of(task):
    text = f'{n.TASKS_IN_PROGRESS}{{queue="shop",task="{task}"}} 3.0\n'

    (page,) = Pages().read([stored(text)], NOW)

    ((labels, value),) = page.samples(n.TASKS_IN_PROGRESS)
    assert labels["task"] == task.replace('\\"', '"').replace("\\\\", "\\")
    assert value == 3.0


def test_a_page_that_is_renewed_is_new_though_it_says_the_same():
    pages = Pages()
    text = f'{n.WORKERS}{{queue="shop",worker_type="thread"}} 4.0\n'

    pages.read([stored(text)], NOW)
    (renewed,) = pages.read([stored(text, age=2.0)], NOW + 50)

    assert renewed.made == NOW + 48


@pytest.mark.parametrize("off", [0.0, 3_600.0, -3_600.25, 90_000.0])
def test_clock_of_a_consumer_may_be_wrong(off):
    moment = NOW - 600 - off
    text = f'{n.TASK_LAST_SUCCESS}{{queue="shop",task="a"}} {moment}\n'

    (page,) = Pages().read([stored(text, at=NOW - off - 2)], NOW)
    (unknown,) = Pages().read([stored(text)], NOW)

    ((_, at),) = page.moments(n.TASK_LAST_SUCCESS)
    assert at == pytest.approx(NOW - 600, abs=2.5)
    assert unknown.moments(n.TASK_LAST_SUCCESS)[0][1] == moment


def test_minute_stays_one_whatever_the_clock():
    text = f'{n.PERIODIC_NEXT_RUN}{{queue="shop",task="a"}} 1764003600.0\n'

    (page,) = Pages().read([stored(text, at=NOW + 3_599.7)], NOW)
    (close,) = Pages().read([stored(text, at=NOW + 0.7)], NOW)

    assert page.moments(n.PERIODIC_NEXT_RUN)[0][1] == 1_764_000_000
    assert close.moments(n.PERIODIC_NEXT_RUN)[0][1] == 1_764_003_600


def test_a_queue_may_have_any_name():
    text = 'huey_workers_busy{queue="a # {b",worker_type="thread"} 2.0\n'

    (page,) = Pages().read([stored(text)], NOW)

    labels = {"queue": "a # {b", "worker_type": "thread"}
    assert page.found == {n.WORKERS_BUSY: [(labels, 2.0)]}


def test_the_run_before_of_a_consumer_is_no_consumer():
    ended = stored("", age=20.0)
    ended = ended._replace(head=ended.head._replace(ended=True))
    before = ended._replace(name="web-1:7:1", replaced=True)

    found = Pages().read([stored(""), before], NOW)

    assert [one.consumer for one in found] == ["web-1:7"]
