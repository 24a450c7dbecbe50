"""The sample shop: each case leaves the events that its ledger says."""

import contextlib
import itertools
from collections.abc import Callable

import pytest
from huey import Huey
from huey.storage import MemoryStorage

from huey_otel import events as e
from huey_otel import uninstrument
from runtime import shop
from runtime.load import cases
from runtime.load.cases import Case
from runtime.load.ledger import Expected, Ledger
from runtime.load.mix import Kind, mix, weights
from runtime.shop.tasks import nightly_report
from tests.support.recorded import Drain, Recorded

LIMITS = {e.EVENT_TIMEOUT, e.EVENT_RATE_LIMITED}


@pytest.fixture
def huey(monkeypatch: pytest.MonkeyPatch) -> Huey:
    """The shop's queue, in memory."""
    uninstrument(shop.huey)
    monkeypatch.setattr(shop.huey, "storage", MemoryStorage("shop"))
    return shop.huey


@pytest.fixture
def live_through(huey: Huey, drain: Drain) -> Callable[[Case], None]:
    """Enqueues a case, and executes all that comes of it."""

    def live_through(case: Case) -> None:
        with case.lock or contextlib.nullcontext():
            if case.revoked:
                huey.revoke(case.task)
            huey.enqueue(case.task)
            drain()
            while huey.scheduled_count():
                drain.ripe()

    return live_through


@pytest.mark.parametrize("kind", weights(), ids=lambda kind: kind.__name__)
def test_case_leaves_the_events_that_it_says(
    kind: Kind, seen: Recorded, live_through: Callable[[Case], None]
) -> None:
    case = kind(7)

    live_through(case)

    assert Ledger(list(case.expected)).differences(seen.published) == []


def test_cards_are_charged_before_the_receipt_is_sent(
    seen: Recorded, live_through: Callable[[Case], None]
) -> None:
    live_through(cases.declined_once(7))

    assert [(event["task"], event["status"]) for event in seen.published] == [
        ("charge_card", "started"),
        ("charge_card", "error-task"),
        ("charge_card", "retrying"),
        ("charge_card", "started"),
        ("charge_card", "finished"),
        ("send_receipt", "started"),
        ("send_receipt", "finished"),
    ]


def test_nightly_report_runs_by_hand() -> None:
    assert nightly_report.call_local() is None


def test_load_has_every_event_of_a_healthy_machine() -> None:
    statuses = {
        status
        for case in mix(count=len(weights()), seed=1)
        for expected in case.expected
        for status in expected.statuses
    }

    assert statuses | LIMITS == LIMITS | {
        e.EVENT_STARTED,
        e.EVENT_FINISHED,
        e.EVENT_ERROR_TASK,
        e.EVENT_RETRYING,
        e.EVENT_SCHEDULED,
        e.EVENT_LOCKED,
        e.EVENT_REVOKED,
        e.EVENT_EXPIRED,
        e.EVENT_CANCELED,
    }
    assert (statuses >= LIMITS) == hasattr(shop.huey, "rate_limit")


def test_same_seed_is_the_same_mix() -> None:
    first, again, other = (_outline(mix(count=60, seed=seed)) for seed in (1, 1, 2))

    assert first == again != other
    assert len(first) == 60


def test_reminders_come_first_so_that_they_are_scheduled() -> None:
    tasks = [case.task.name for case in mix(count=100, seed=3)]

    reminders = list(itertools.takewhile(lambda name: name == "remind_cart", tasks))
    assert len(reminders) == tasks.count("remind_cart") > 0


def test_small_mix_is_as_small_as_asked() -> None:
    assert len(list(mix(count=3, seed=1))) == 3


def _outline(mixed: object) -> list[tuple[str, tuple[str, ...]]]:
    return [(case.task.name, case.expected[0].statuses) for case in mixed]


ADD = Expected(task="add", id="1", statuses=("started", "finished"))
ANY_ADD = Expected(task="add", statuses=("started", "finished"))


def history(task: str, id_: str | None, *statuses: str) -> list[dict[str, str | None]]:
    return [{"task": task, "id": id_, "status": status} for status in statuses]


@pytest.mark.parametrize(
    ("expected", "events"),
    [
        ([ADD], history("add", "1", "started", "finished")),
        ([ANY_ADD], history("add", "9", "started", "finished")),
        (
            [Expected(task=None, statuses=("checking-periodic",), repeats=True)],
            history(None, None, "checking-periodic", "checking-periodic"),
        ),
        ([Expected(task="add", statuses=("started",), repeats=True)], []),
    ],
)
def test_ledger_agrees(expected: list[Expected], events: list[dict]) -> None:
    assert Ledger(expected).differences(events) == []


@pytest.mark.parametrize(
    ("expected", "events", "difference"),
    [
        ([ADD], [], "add 1: expected started, finished; seen nothing"),
        (
            [ADD],
            history("add", "1", "finished", "started"),
            "add 1: expected started, finished; seen finished, started",
        ),
        ([ANY_ADD], [], "add: expected started, finished; seen nothing"),
        ([], history("add", "1", "lost"), "add 1: expected nothing; seen lost"),
        (
            [],
            history(None, None, "error-dequeueing"),
            "no task event 0: expected nothing; seen error-dequeueing",
        ),
    ],
)
def test_ledger_differs(
    expected: list[Expected], events: list[dict], difference: str
) -> None:
    assert [str(each) for each in Ledger(expected).differences(events)] == [difference]


def test_two_of_a_name_need_two() -> None:
    ledger = Ledger([ANY_ADD, ANY_ADD])
    once = history("add", "1", "started", "finished")

    assert len(ledger.differences(once)) == 1
    assert (
        ledger.differences([*once, *history("add", "2", "started", "finished")]) == []
    )


def test_written_ledger_reads_the_same(tmp_path) -> None:
    ledger = Ledger([ADD, ANY_ADD])

    ledger.write(tmp_path / "ledger.json")

    assert Ledger.read(tmp_path / "ledger.json") == ledger
