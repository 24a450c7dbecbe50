"""Calls of huey's that raise, as the whole list of what was said of them."""

from unittest import mock

import pytest

from tests.support.recorded import EARLIER


class DownError(Exception):
    """What a broken storage raises."""


def test_a_message_that_cannot_be_decoded(huey, seen, drain):
    huey.storage.enqueue(b"nonsense")

    escaped = drain()

    assert len(escaped) == 1
    assert seen.steps == [("error-dequeueing", None, None)]
    assert seen.ends == [(None, "lost")]
    assert [event["name"] for event in seen.events] == ["_unknown", None]


def test_a_message_of_an_unknown_task(huey, seen, drain):
    @huey.task()
    def send(): ...

    send()
    huey._registry.unregister(send.task_class)
    escaped = drain()

    assert len(escaped) == 1
    assert seen.steps == [("error-dequeueing", None, None)]
    assert seen.ends == [(None, "lost")]
    assert seen.published[0]["exception"] == "huey.exceptions.HueyException"


def test_a_message_on_the_schedule_that_cannot_be_decoded(huey, seen):
    huey.storage.add_to_schedule(b"nonsense", EARLIER)

    tasks = huey.read_schedule()

    assert tasks == []
    assert seen.steps == [("error-dequeueing", None, None)]
    assert seen.ends == [(None, "lost")]


def test_a_streak_of_messages_that_cannot_be_decoded_is_one_event(huey, seen, drain):
    @huey.task()
    def send(): ...

    for _ in range(5):
        huey.storage.enqueue(b"nonsense")
    send()
    drain()

    assert [(event["status"], event.get("count")) for event in seen.published] == [
        ("error-dequeueing", 1),
        ("error-dequeueing", 4),
        ("started", None),
        ("finished", None),
    ]
    assert seen.ends == [(None, "lost")] * 5 + [("success", "success")]


def test_a_storage_that_is_away(huey, seen):
    with (
        mock.patch.object(huey.storage, "dequeue", side_effect=DownError),
        pytest.raises(DownError),
    ):
        huey.dequeue()

    assert seen.steps == [("error-dequeueing", None, None)]
    assert seen.ends == []


def test_a_schedule_that_cannot_be_read(huey, seen):
    with (
        mock.patch.object(huey.storage, "read_schedule", side_effect=DownError),
        pytest.raises(DownError),
    ):
        huey.read_schedule()

    assert seen.steps == [("error-internal", None, None)]
    assert seen.ends == []


def test_a_result_that_cannot_be_stored(huey, seen, drain):
    @huey.task(retries=1)
    def send():
        return 1

    error = DownError()
    send()
    with mock.patch.object(huey.storage, "put_data", side_effect=error):
        escaped = drain()

    assert escaped == [error]
    assert seen.steps == [("started", 1, 1), ("error-storing-result", 1, 1)]
    assert seen.ends == [("success", "failure")]
    assert seen.each_message_has_one_end()


def test_a_result_that_cannot_be_pickled(huey, seen, drain):
    @huey.task()
    def send():
        return lambda: None

    send()
    escaped = drain()

    assert len(escaped) == 1
    assert seen.steps == [("started", 0, 1), ("error-storing-result", 0, 1)]
    assert seen.ends == [("success", "failure")]
    assert seen.each_message_has_one_end()


def test_an_error_that_cannot_be_stored_is_final(huey, seen, drain):
    @huey.task(retries=1)
    def send():
        raise ValueError("no")

    error = DownError()
    send()
    with mock.patch.object(huey.storage, "put_data", side_effect=error):
        escaped = drain()

    assert escaped == [error]
    assert seen.steps == [
        ("started", 1, 1),
        ("error-task", 1, 1),
        ("error-storing-result", 1, 1),
    ]
    assert seen.ends == [("error", "failure")]
    assert seen.each_message_has_one_end()


@pytest.mark.parametrize(
    ("fails", "steps", "ends"),
    [
        pytest.param(
            False,
            [("started", 1, 1), ("error-internal", 1, 1)],
            [("success", "failure")],
            id="after a success",
        ),
        pytest.param(
            True,
            [("started", 1, 1), ("error-task", 1, 1), ("error-internal", 1, 1)],
            [("error", "failure")],
            id="after an error",
        ),
    ],
)
def test_a_revocation_that_cannot_be_cleared(
    huey,
    seen,
    drain,
    fails,
    steps,
    ends,
):
    @huey.task(retries=1)
    def send():
        if fails:
            raise ValueError("no")
        return 1

    error = DownError()
    send()
    with (
        mock.patch.object(huey.storage, "delete_data", side_effect=error),
        mock.patch.object(huey.storage, "pop_data", side_effect=error),
    ):
        escaped = drain()

    assert escaped == [error]
    assert seen.steps == steps
    assert seen.ends == ends
    assert seen.each_message_has_one_end()


def test_an_error_handler_that_cannot_be_enqueued(huey, seen, drain):
    class CannotBePickledError(Exception):
        pass

    @huey.task(retries=1)
    def send():
        raise CannotBePickledError

    @huey.task()
    def on_error(_error): ...

    huey.enqueue(send.s().error(on_error))
    escaped = drain()

    assert len(escaped) == 1
    assert seen.steps == [
        ("started", 1, 1),
        ("error-task", 1, 1),
        ("error-enqueueing", 1, 1),
    ]
    assert seen.ends == [("error", "failure")]
    assert seen.each_message_has_one_end()


def test_a_retry_that_cannot_be_enqueued(huey, seen, drain):
    @huey.task(retries=2)
    def send():
        raise ValueError("no")

    error = DownError()
    send()
    with mock.patch.object(huey.storage, "enqueue", side_effect=error):
        escaped = drain()

    assert escaped == [error]
    assert seen.steps == [
        ("started", 2, 1),
        ("error-task", 2, 1),
        ("retrying", 1, 1),
        ("error-enqueueing", 1, 1),
    ]
    assert seen.ends == [("error", "failure")]
    assert seen.each_message_has_one_end()


def test_a_retry_that_cannot_be_scheduled(huey, seen, drain):
    @huey.task(retries=2, retry_delay=60)
    def send():
        raise ValueError("no")

    error = DownError()
    send()
    with mock.patch.object(huey.storage, "add_to_schedule", side_effect=error):
        escaped = drain()

    assert escaped == [error]
    assert seen.steps == [
        ("started", 2, 1),
        ("error-task", 2, 1),
        ("retrying", 1, 1),
        ("scheduled", 1, 2),
        ("error-scheduling", 1, 1),
    ]
    assert seen.ends == [("error", "failure")]
    assert seen.each_message_has_one_end()


def test_a_next_stage_that_cannot_be_enqueued(huey, seen, drain):
    @huey.task()
    def send():
        return 1

    error = DownError()
    huey.enqueue(send.s().then(send))
    with mock.patch.object(huey.storage, "enqueue", side_effect=error):
        escaped = drain()

    assert escaped == [error]
    assert seen.steps == [
        ("started", 0, 1),
        ("finished", 0, 1),
        ("error-enqueueing", 0, 1),
    ]
    assert seen.ends == [("success", "success")]
    assert seen.each_message_has_one_end()


def test_a_revocation_that_cannot_be_read(huey, seen, drain):
    @huey.task(retries=1)
    def send(): ...

    error = DownError()
    send()
    with mock.patch.object(huey, "is_revoked", side_effect=error):
        escaped = drain()

    assert escaped == [error]
    assert seen.steps == [("error-internal", 1, 1)]
    assert seen.ends == [(None, "failure")]
    assert seen.each_message_has_one_end()


def test_a_task_that_is_not_due_and_cannot_be_scheduled(huey, seen, drain):
    @huey.task()
    def send(): ...

    error = DownError()
    send.schedule(delay=60)
    with mock.patch.object(huey.storage, "add_to_schedule", side_effect=error):
        escaped = drain()

    assert escaped == [error]
    assert seen.steps == [("scheduled", 0, 1), ("error-scheduling", 0, 1)]
    assert seen.ends == [(None, "failure")]
    assert seen.each_message_has_one_end()


def test_a_ripe_task_that_cannot_be_enqueued(huey, seen, drain):
    @huey.task()
    def send(): ...

    error = DownError()
    send.schedule(delay=60)
    drain()
    with mock.patch.object(huey.storage, "enqueue", side_effect=error):
        escaped = drain.scheduler()

    assert escaped == [error]
    assert seen.steps == [("scheduled", 0, 1), ("error-enqueueing", 0, 1)]
    assert seen.ends == [(None, "failure")]
    assert seen.each_message_has_one_end()


def test_an_enqueue_that_fails_inside_a_task_is_the_tasks_own_error(huey, seen, drain):
    @huey.task()
    def send():
        with mock.patch.object(huey.storage, "enqueue", side_effect=DownError):
            send()

    send()
    drain()

    assert seen.steps == [("started", 0, 1), ("error-task", 0, 1)]
    assert seen.ends == [("error", "failure")]


def test_an_enqueue_that_fails_in_a_producer_is_no_event(huey, seen):
    @huey.task()
    def send(): ...

    with (
        mock.patch.object(huey.storage, "enqueue", side_effect=DownError),
        pytest.raises(DownError),
    ):
        send()

    assert seen.events == []
