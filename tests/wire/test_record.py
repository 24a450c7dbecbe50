"""Records: how a step is spelled as the dict that is published."""

import datetime
import http
import json

import pytest

from huey_otel._wire.event import spell
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.mapping import TABLE
from tests.support.strict_readers import event_of

SOURCE = Source(queue="my-app", host="h1", worker_type="process")
FACTS = tuple(TaskFacts("id-1", "send", "app.send", 60, 1700000000.0, 2))


def test_what_a_span_began_with_is_in_no_event():
    record = Record(1, "started", 1.5, 42, 7, "Worker-1", FACTS, 3, {"wait": 0.5})
    start = (7, "v=1", ((1, 2, 1, "", None),), None)

    assert event_of(record._replace(start=start), SOURCE) == event_of(record, SOURCE)


def test_a_started_task():
    record = Record(
        1, "started", 1700000001.5, 42, 7, "Worker-1", FACTS, 3, {"wait": 1.5}
    )

    event = event_of(record, SOURCE)

    # The order of the keys counts.
    assert list(event.items()) == [
        ("status", "started"),
        ("error", False),
        ("id", "id-1"),
        ("task", "send"),
        ("retries", 3),
        ("retry_delay", 60),
        ("execute_time", 1700000000.0),
        ("timestamp", 1700000001.5),
        ("queue", "my-app"),
        ("name", "app.send"),
        ("attempt", 2),
        ("worker", "Worker-1"),
        ("worker_type", "process"),
        ("pid", 42),
        ("host", "h1"),
        ("publisher", "h1:42:1"),
        ("seq", 7),
        ("wait", 1.5),
    ]


def test_an_error():
    extra = {"duration": 0.5, "traceback": "Traceback", "exception": "ValueError"}
    record = Record(1, "error-task", 1.5, 42, 7, "Worker-1", FACTS, 3, extra)

    event = event_of(record, SOURCE)

    assert list(event.items()) == [
        ("status", "error-task"),
        ("error", True),
        ("traceback", "Traceback"),
        ("id", "id-1"),
        ("task", "send"),
        ("retries", 3),
        ("retry_delay", 60),
        ("execute_time", 1700000000.0),
        ("timestamp", 1.5),
        ("queue", "my-app"),
        ("name", "app.send"),
        ("attempt", 2),
        ("worker", "Worker-1"),
        ("worker_type", "process"),
        ("pid", 42),
        ("host", "h1"),
        ("publisher", "h1:42:1"),
        ("seq", 7),
        ("duration", 0.5),
        ("exception", "ValueError"),
    ]


def test_a_step_without_a_task():
    record = Record(1, "checking-periodic", 1.5, 42, 0, "Scheduler", None, None, None)

    event = event_of(record, SOURCE)

    assert list(event.items()) == [
        ("status", "checking-periodic"),
        ("error", False),
        ("id", None),
        ("task", None),
        ("retries", None),
        ("retry_delay", None),
        ("execute_time", None),
        ("timestamp", 1.5),
        ("queue", "my-app"),
        ("name", None),
        ("attempt", None),
        ("worker", "Scheduler"),
        ("worker_type", "process"),
        ("pid", 42),
        ("host", "h1"),
        ("publisher", "h1:42:1"),
        ("seq", 7),
    ]


def test_outside_a_consumer_there_is_no_worker():
    record = Record(1, "enqueued", 1.5, 42, 0, None, FACTS, 3, {"origin": "call"})

    event = event_of(record, SOURCE)

    assert (event["worker"], event["worker_type"]) == (None, None)


def test_an_error_of_unknown_cause_has_a_traceback_of_none():
    record = Record(1, "lost", 1.5, 42, 7, "Worker-1", FACTS, 3, {})

    event = event_of(record, SOURCE)

    assert (event["error"], event["traceback"]) == (True, None)


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param('say "hi"\n\u2028\\', id="quotes and control characters"),
        pytest.param("Grüße 🎉", id="not ascii"),
        pytest.param(10**30, id="a large integer"),
        pytest.param(1e300, id="a large float"),
        pytest.param(bool(1), id="a bool"),
        pytest.param(http.HTTPStatus.OK, id="an enum"),
        pytest.param({"a": [1, None]}, id="an object"),
        pytest.param(datetime.timedelta(seconds=5), id="no JSON at all"),
    ],
)
def test_an_event_is_spelled_as_the_encoder_of_the_standard_library_does(odd):
    as_text = json.JSONEncoder(
        ensure_ascii=False, separators=(",", ":"), default=str
    ).encode
    facts = TaskFacts(f"{odd}", f"{odd}", f"{odd}", odd, odd, 1, 10, 11)
    for status in TABLE:
        extra = {"exception": f"{odd}", "duration": odd, "traceback": f"{odd}"}
        record = Record(1, status, 1.5, 2, 3, f"{odd}", tuple(facts), 4, extra)

        spelled = spell(record, Source(queue=f"{odd}", host=f"{odd}"), f"{odd}", 1)

        event = json.loads(spelled)
        assert as_text(event) == spelled
        assert event["duration"] == json.loads(as_text(odd))
        assert event["queue"] == event["host"] == event["worker"] == f"{odd}"
        assert event["publisher"] == f"{odd}"


def test_a_lone_surrogate_is_spelled_as_text():
    odd, said = "party \ud83c", "party \\ud83c"
    facts = TaskFacts(odd, odd, odd, 0, None, 1)
    extra = {"exception": odd, "traceback": odd}
    record = Record(1, "error-task", 1.5, 2, 3, odd, tuple(facts), 4, extra)

    event = event_of(record, Source(queue=odd, host=odd))

    texts = {name: event[name] for name in event if event[name] == said}
    assert sorted(texts) == [
        *("exception", "host", "id", "name", "queue", "task", "traceback", "worker"),
    ]


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")], ids=repr)
def test_a_number_that_json_does_not_know_is_null(odd):
    facts = TaskFacts("id", "add", "app.add", odd, odd, 1)
    record = Record(1, "started", 1.5, 2, 3, None, tuple(facts), 4, {"wait": odd})

    event = event_of(record, SOURCE)

    assert [event[name] for name in ("retry_delay", "execute_time", "wait")] == [
        None,
        None,
        None,
    ]
