"""What `huey-otel top` says of failures, from events of errors."""

from huey_otel.cli.top.failures import Failures
from huey_otel.cli.top.snapshot import Failing, Failure

NOW = 1_764_000_000.0
TRACEBACK = (
    "Traceback (most recent call last):\n  ...\nsmtplib.SMTPException: too busy\nnow\n"
)
EVENT = {
    "status": "error-task",
    "error": True,
    "id": "5f3c",
    "task": "mail",
    "name": "app.mail",
    "exception": "smtplib.SMTPException",
    "traceback": TRACEBACK,
    "host": "web-1",
    "pid": 41,
}


def test_failures_of_the_last_five_minutes_are_counted_most_often_first():
    failures = Failures()
    for at in range(0, 600, 10):
        failures.take(EVENT, NOW + at)
    failures.take(EVENT | {"name": "app.pay", "exception": "TimeoutError"}, NOW + 590)

    assert failures.failing(NOW + 600) == [
        Failing(task="app.mail", count=30, exception="smtplib.SMTPException", ago=10.0),
        Failing(task="app.pay", count=1, exception="TimeoutError", ago=10.0),
    ]
    assert failures.failing(NOW + 2_000) == []


def test_event_may_tell_of_several():
    failures = Failures()
    streak = {"status": "error-dequeueing", "error": True}
    for count in (7, None, "x", -3, 0, 1e400, True, 10**30):
        failures.take(streak | {"count": count}, NOW)

    (found,) = failures.failing(NOW)
    assert found.count == 7 + 7


def test_each_of_the_last_ones_is_kept_with_its_message_newest_first():
    failures = Failures()
    failures.take(EVENT, NOW)
    failures.take({"status": "timeout", "error": True, "task": "old"}, NOW + 1)
    failures.take({"status": "error-internal", "error": True, "task": None}, NOW + 2)

    assert failures.latest() == [
        Failure(
            at=NOW + 2,
            task="(error-internal)",
            id="",
            exception="error-internal",
            message="",
            worker="",
            traceback="",
        ),
        Failure(
            at=NOW + 1,
            task="old",
            id="",
            exception="timeout",
            message="",
            worker="",
            traceback="",
        ),
        Failure(
            at=NOW,
            task="app.mail",
            id="5f3c",
            exception="smtplib.SMTPException",
            message="too busy",
            worker="web-1:41",
            traceback=TRACEBACK,
        ),
    ]


def test_events_that_are_no_failure_are_left_out():
    failures = Failures()
    for event in (
        EVENT | {"error": False},
        EVENT | {"error": 1},
        {"status": "finished"},
    ):
        failures.take(event, NOW)

    assert (failures.failing(NOW), failures.latest()) == ([], [])


def test_it_is_bounded_whatever_comes():
    failures = Failures()
    for number in range(3_000):
        failures.take(EVENT | {"name": f"app.{number}", "traceback": "x" * 99_999}, NOW)

    found = failures.failing(NOW)
    kept = failures.latest()
    assert found[0].task == "(other)"
    assert (found[0].count, len(found), len(kept)) == (2_000, 1_001, 200)
    assert len(kept[0].traceback) == 20_000
