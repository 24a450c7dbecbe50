"""Log records: each event, whole, with the names that spans have."""

import math
import time

import pytest

from huey_otel import mapping
from huey_otel._otel import log_records
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.mapping import TABLE
from tests.support.event_logs import needs_event_names, said_by
from tests.support.strict_readers import event_of

SOURCE = Source(queue="my-app", host="h1", worker_type="process")
TASK = TaskFacts("id-1", "send", "app.send", 2.5, 1_800_000_000.25, 3, 0xA1, 0xB2)
UNSAMPLED = TASK._replace(trace_id=None, span_id=None)
RAISED = {"traceback": "Traceback: žluť", "exception": "app.Oops"}
EXTRA = {
    "wait": 1.5,
    "duration": 1.5,
    "late": 1.5,
    "origin": "call",
    "count": 7,
    **RAISED,
}
EVENTS = [status for status, row in TABLE.items() if row.is_event]


def record(status, facts=TASK, worker="Worker-2", **changes):
    extra = {key: EXTRA[key] for key in TABLE[status].extra}
    known = None if facts is None else tuple(facts)
    made = Record(1, status, 1.5e9 + 0.5, 42, 9, worker, known, 2, extra)
    return made._replace(**changes)


def said(one, source=SOURCE):
    """What the log record of *one* says, in the form of `said_by`."""
    made = log_records.log_record(one, source, "h1:42:1", 7)
    return {
        "event_name": made.event_name,
        "severity": made.severity_number.name,
        "severity_text": made.severity_text,
        "body": made.body,
        "time": made.timestamp,
        "trace_id": f"{made.trace_id:032x}" if made.trace_id else "",
        "span_id": f"{made.span_id:016x}" if made.span_id else "",
        "flags": int(made.trace_flags),
        "attributes": dict(made.attributes),
    }


@needs_event_names
@pytest.mark.parametrize("facts", [TASK, UNSAMPLED], ids=["sampled", "unsampled"])
@pytest.mark.parametrize("status", EVENTS)
def test_a_log_record_says_all_that_the_event_says(status, facts):
    one = record(status, facts)

    assert said(one) == said_by(event_of(one, SOURCE), CLIENT.id)


@needs_event_names
def test_a_failure_in_full():
    before = time.time_ns()
    one = record("error-task", extra={"duration": 0.5, **RAISED})

    made = log_records.log_record(one, SOURCE, "h1:42:1", 7)

    assert before <= made.observed_timestamp <= time.time_ns()
    assert said(one) == {
        "event_name": "huey.task.error-task",
        "severity": "ERROR",
        "severity_text": "ERROR",
        "body": "error-task app.send: app.Oops",
        "time": 1_500_000_000_500_000_000,
        "trace_id": f"{0xA1:032x}",
        "span_id": f"{0xB2:016x}",
        "flags": 1,
        "attributes": {
            "messaging.system": "huey",
            "messaging.destination.name": "my-app",
            "messaging.client.id": CLIENT.id,
            "messaging.message.id": "id-1",
            "huey.event.publisher": "h1:42:1",
            "huey.event.seq": 7,
            "huey.task.name": "app.send",
            "huey.task.attempt": 3,
            "huey.task.retries_left": 2,
            "huey.task.retry_delay": 2.5,
            "huey.task.eta": 1_800_000_000.25,
            "huey.task.duration": 0.5,
            "huey.task.outcome": "error",
            "huey.worker.name": "Worker-2",
            "huey.worker.type": "process",
            "huey.worker.pid": 42,
            "error.type": "app.Oops",
            "exception.type": "app.Oops",
            "exception.stacktrace": "Traceback: žluť",
        },
    }


@needs_event_names
@pytest.mark.parametrize(
    ("status", "severity"),
    [
        ("checking-periodic", "INFO"),
        ("error-dequeueing", "ERROR"),
        ("error-internal", "ERROR"),
    ],
)
def test_an_event_without_a_task_is_the_consumers(status, severity):
    one = record(status, None, worker="Scheduler", retries=None)

    assert said(one) == said_by(event_of(one, SOURCE), CLIENT.id)
    assert said(one)["event_name"] == f"huey.consumer.{status}"
    assert said(one)["severity"] == severity


@needs_event_names
def test_an_event_of_a_producer_has_no_worker():
    one = record("enqueued", worker=None, extra={"origin": "call"})
    producer = SOURCE._replace(worker_type=None)

    found = said(one, producer)

    assert found == said_by(event_of(one, producer), CLIENT.id)
    assert not [name for name in found["attributes"] if "worker" in name]


@needs_event_names
def test_a_failure_of_which_no_exception_is_known_has_its_outcome_as_its_type():
    one = record("lost", extra={"duration": 2.0, "traceback": None})

    attributes = said(one)["attributes"]

    assert attributes["error.type"] == attributes["huey.task.outcome"] == "lost"
    assert not [name for name in attributes if name.startswith("exception.")]


@needs_event_names
@pytest.mark.parametrize("moment", [math.nan, math.inf, -5.0, 1e300])
def test_an_odd_time_is_one_that_otlp_can_say(moment):
    assert 0 <= said(record("started", timestamp=moment))["time"] < 2**64


@needs_event_names
def test_odd_texts_and_numbers_are_ones_that_otlp_can_say():
    facts = TASK._replace(name="app.\ud83c", retry_delay=10**30, execute_time=math.nan)

    found = said(record("started", facts, worker="w\udce9"))

    assert found["attributes"]["huey.task.name"] == "app.\\ud83c"
    assert found["attributes"]["huey.worker.name"] == "w\\udce9"
    assert found["body"] == "started app.\\ud83c"
    assert "huey.task.retry_delay" not in found["attributes"]
    assert "huey.task.eta" not in found["attributes"]


def test_each_further_key_of_an_event_has_an_attribute():
    keys = {key for row in TABLE.values() if row.is_event for key in row.extra}

    assert log_records.FURTHER.keys() == keys


def test_severities_are_those_of_the_mapping():
    graver = {
        status: row.severity
        for status, row in TABLE.items()
        if row.is_event and row.severity != "INFO"
    }
    errors = [status for status, row in mapping.TABLE.items() if row.error]

    assert graver == {"retrying": "WARN", **dict.fromkeys(errors, "ERROR")}


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        *((old, False) for old in ("1.30.0", "1.36.0", "0.99b1")),
        *((new, True) for new in ("1.37.0", "1.45.2", "1.100.0", "2.0.0rc1")),
    ],
)
@needs_event_names
def test_the_sdk_must_be_new_enough(monkeypatch, version, fits):
    monkeypatch.setattr(log_records, "__version__", version)

    assert log_records.too_old() == (
        ""
        if fits
        else "expected opentelemetry-sdk 1.37 or newer, whose log records have the"
        f" names of events; {version} is installed"
    )


@needs_event_names
@pytest.mark.parametrize("delay", [0, 2, 2.5, None])
def test_a_delay_is_a_float_or_absent(delay):
    attributes = said(record("started", TASK._replace(retry_delay=delay)))["attributes"]

    expected = None if delay is None else float(delay)
    assert repr(attributes.get("huey.task.retry_delay")) == repr(expected)
