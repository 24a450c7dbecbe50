"""The mapping: one row for all that a task, a scheduler or a worker can do."""

import huey.signals
import pytest

from huey_otel import events, mapping
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.mapping import TABLE, Published, Row
from tests.support.strict_readers import event_of

SIGNALS = {
    value for name, value in vars(huey.signals).items() if name.startswith("SIGNAL_")
}

# Constant, status, and the keys that only some events have.
EVENTS = [
    ("EVENT_CHECKING_PERIODIC", "checking-periodic", False, ()),
    ("EVENT_SCHEDULING_PERIODIC", "scheduling-periodic", False, ()),
    ("EVENT_SCHEDULED", "scheduled", False, ()),
    ("EVENT_STARTED", "started", False, ("wait",)),
    ("EVENT_FINISHED", "finished", False, ("duration",)),
    ("EVENT_RETRYING", "retrying", False, ()),
    ("EVENT_REVOKED", "revoked", False, ()),
    ("EVENT_LOCKED", "locked", False, ("duration",)),
    (
        "EVENT_ERROR_TASK",
        "error-task",
        True,
        ("duration", "traceback", "exception"),
    ),
    (
        "EVENT_ERROR_DEQUEUEING",
        "error-dequeueing",
        True,
        ("traceback", "exception", "count"),
    ),
    ("EVENT_ERROR_ENQUEUEING", "error-enqueueing", True, ("traceback", "exception")),
    ("EVENT_ERROR_SCHEDULING", "error-scheduling", True, ("traceback", "exception")),
    (
        "EVENT_ERROR_STORING_RESULT",
        "error-storing-result",
        True,
        ("duration", "traceback", "exception"),
    ),
    ("EVENT_ERROR_INTERNAL", "error-internal", True, ("traceback", "exception")),
    ("EVENT_TIMEOUT", "timeout", True, ("duration", "traceback", "exception")),
    ("EVENT_CANCELED", "canceled", False, ("duration",)),
    ("EVENT_EXPIRED", "expired", False, ()),
    ("EVENT_INTERRUPTED", "interrupted", False, ("duration",)),
    ("EVENT_RATE_LIMITED", "rate-limited", False, ("duration",)),
    ("EVENT_LOST", "lost", True, ("duration",)),
    ("EVENT_ENQUEUED", "enqueued", False, ("origin", "late")),
]
UNPUBLISHED = [
    "accepted",
    "sent",
    "dequeued",
    "ended",
    "gone",
    "worker-ended",
    "worker-replaced",
    "scheduler-replaced",
]


def test_each_constant_has_a_row_and_nothing_else_is_an_event():
    rows = [
        (row.status, row.error, row.extra) for row in TABLE.values() if row.is_event
    ]

    assert sorted(rows) == sorted(tuple(row[1:]) for row in EVENTS)


def test_the_constants_are_those_of_the_table():
    assert {name: status for name, status, _, _ in EVENTS} == events.CONSTANTS


def test_internal_records_are_never_published():
    never = [s for s, row in TABLE.items() if not row.is_event]

    assert never == UNPUBLISHED


def test_only_enqueued_is_published_on_demand():
    on_demand = [s for s, row in TABLE.items() if row.published is Published.OPT_IN]

    assert on_demand == [events.EVENT_ENQUEUED]


@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_each_signal_of_huey_has_a_row(signal):
    assert isinstance(mapping.BY_SIGNAL[signal], Row)


def test_each_status_is_in_the_table_under_its_own_name():
    assert {status: row.status for status, row in TABLE.items()} == {
        status: status for status in TABLE
    }


@pytest.mark.parametrize("row", TABLE.values(), ids=list(TABLE))
def test_a_status_that_ends_an_attempt_has_an_outcome(row):
    ends = row.span is mapping.Span.END

    assert (row.outcome is not None) == ends
    assert not ends or "duration" in row.extra


@pytest.mark.parametrize("status", list(TABLE))
def test_each_status_can_be_spelled_as_an_event(status):
    facts = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))
    record = Record(1, status, 1.0, 2, 3, "Worker-1", facts, 0, None)

    event = event_of(record, Source(queue="q", host="h", worker_type="thread"))

    assert event["status"] == status
    assert event["error"] is TABLE[status].error
