"""Every way an attempt can end, as the whole list of what was said of it."""

import copy
from unittest import mock

import huey as huey_package
import huey.exceptions
import pytest
from huey import CancelExecution, RetryTask

from tests.support.seen import EARLIER, LATER

TaskTimeout = getattr(huey_package.exceptions, "TaskTimeout", None)
RateLimitExceeded = getattr(huey_package.exceptions, "RateLimitExceeded", None)

needs_timeouts = pytest.mark.skipif(TaskTimeout is None, reason="huey has no timeouts")
needs_rate_limits = pytest.mark.skipif(
    RateLimitExceeded is None, reason="huey has no rate limits"
)
needs_chords = pytest.mark.skipif(
    not hasattr(huey_package, "chord"), reason="huey has no chords"
)


class DownError(Exception):
    """What a broken storage raises."""


def test_a_task_that_returns(huey, seen, drain):
    @huey.task(retries=2)
    def send():
        return 1

    send()
    escaped = drain()

    assert escaped == []
    assert seen.steps == [("started", 2, 1), ("finished", 2, 1)]
    assert seen.ends == [("success", "success")]
    assert seen.each_message_has_one_end()


def test_a_task_that_raises(huey, seen, drain):
    @huey.task()
    def send():
        raise ValueError("no")

    send()
    drain()

    assert seen.steps == [("started", 0, 1), ("error-task", 0, 1)]
    assert seen.ends == [("error", "failure")]
    assert seen.each_message_has_one_end()


def test_a_task_that_raises_is_retried(huey, seen, drain):
    @huey.task(retries=2)
    def send():
        raise ValueError("no")

    send()
    drain()

    assert seen.steps == [
        ("started", 2, 1),
        ("error-task", 2, 1),
        ("retrying", 1, 1),
        ("started", 1, 2),
        ("error-task", 1, 2),
        ("retrying", 0, 2),
        ("started", 0, 3),
        ("error-task", 0, 3),
    ]
    assert seen.ends == [("error", None), ("error", None), ("error", "failure")]
    assert seen.each_message_has_one_end()


def test_a_retry_with_a_delay_is_scheduled(huey, seen, drain):
    runs = []

    @huey.task(retries=1, retry_delay=60)
    def send():
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("no")

    send()
    drain()
    drain.ripe()

    assert seen.steps == [
        ("started", 1, 1),
        ("error-task", 1, 1),
        ("retrying", 0, 1),
        ("scheduled", 0, 2),
        ("started", 0, 2),
        ("finished", 0, 2),
    ]
    # The scheduler popped it once, and put it back on the queue.
    assert seen.ends == [("error", None), ("success", "success")]
    assert seen.each_message_has_one_end()


@pytest.mark.parametrize(
    ("delay", "scheduled"),
    [
        pytest.param(None, [], id="at once"),
        pytest.param(60, [("scheduled", 0, 2)], id="after a delay"),
    ],
)
def test_a_task_that_asks_for_a_retry(
    huey,
    seen,
    drain,
    delay,
    scheduled,
):
    runs = []

    @huey.task()
    def send():
        runs.append(1)
        if len(runs) == 1:
            raise RetryTask(delay=delay)

    send()
    drain()
    drain.ripe()

    assert seen.steps == [
        ("started", 0, 1),
        ("retrying", 0, 1),
        *scheduled,
        ("started", 0, 2),
        ("finished", 0, 2),
    ]
    assert seen.ends == [("retry_requested", None), ("success", "success")]
    assert seen.each_message_has_one_end()


def test_a_task_that_asks_for_a_retry_keeps_those_it_has(huey, seen, drain):
    runs = []

    @huey.task(retries=3)
    def send():
        runs.append(1)
        if len(runs) == 1:
            raise RetryTask

    send()
    drain()

    assert seen.steps == [
        ("started", 3, 1),
        ("retrying", 3, 1),
        ("started", 3, 2),
        ("finished", 3, 2),
    ]


def test_a_locked_task(huey, seen, drain):
    @huey.task()
    @huey.lock_task("one")
    def send(): ...

    send()
    with huey.lock_task("one"):
        drain()

    assert seen.steps == [("started", 0, 1), ("locked", 0, 1)]
    assert seen.ends == [("locked", "locked")]
    assert seen.each_message_has_one_end()


def test_a_locked_task_is_retried(huey, seen, drain):
    @huey.task(retries=1)
    @huey.lock_task("one")
    def send(): ...

    send()
    with huey.lock_task("one"):
        drain()

    assert seen.steps == [
        ("started", 1, 1),
        ("locked", 1, 1),
        ("retrying", 0, 1),
        ("started", 0, 2),
        ("locked", 0, 2),
    ]
    assert seen.ends == [("locked", None), ("locked", "locked")]
    assert seen.each_message_has_one_end()


@pytest.mark.parametrize(
    ("retry", "retries", "steps", "ends"),
    [
        pytest.param(
            None,
            0,
            [("started", 0, 1), ("canceled", 0, 1)],
            [("canceled", "canceled")],
            id="no retries left",
        ),
        pytest.param(
            None,
            1,
            [
                ("started", 1, 1),
                ("canceled", 1, 1),
                ("retrying", 0, 1),
                ("started", 0, 2),
                ("canceled", 0, 2),
            ],
            [("canceled", None), ("canceled", "canceled")],
            id="a retry left",
        ),
        pytest.param(
            False,
            2,
            [("started", 2, 1), ("canceled", 2, 1)],
            [("canceled", "canceled")],
            id="retry=False",
        ),
    ],
)
def test_a_task_that_cancels_itself(
    huey,
    seen,
    drain,
    retry,
    retries,
    steps,
    ends,
):
    @huey.task(retries=retries)
    def send():
        raise CancelExecution(retry=retry)

    send()
    drain()

    assert seen.steps == steps
    assert seen.ends == ends
    assert seen.each_message_has_one_end()


@pytest.mark.parametrize("retries", [0, 2])
def test_a_task_that_cancels_itself_with_retry(huey, seen, drain, retries):
    runs = []

    @huey.task(retries=retries)
    def send():
        runs.append(1)
        if len(runs) == 1:
            raise CancelExecution(retry=True)

    send()
    drain()

    after = max(retries - 1, 0)
    assert seen.steps == [
        ("started", retries, 1),
        ("canceled", retries, 1),
        ("retrying", after, 1),
        ("started", after, 2),
        ("finished", after, 2),
    ]
    assert seen.ends == [("canceled", None), ("success", "success")]


@pytest.mark.parametrize("retries", [0, 1])
def test_a_task_that_a_hook_cancels_is_not_retried(huey, seen, drain, retries):
    @huey.task(retries=retries)
    def send(): ...

    @huey.pre_execute()
    def cancel(_task):
        raise CancelExecution

    send()
    drain()

    assert seen.steps == [("started", retries, 1), ("canceled", retries, 1)]
    assert seen.ends == [("canceled", "canceled")]
    assert seen.each_message_has_one_end()


def test_an_interrupted_task(huey, seen, drain):
    @huey.task(retries=1)
    def send():
        raise KeyboardInterrupt

    send()
    escaped = drain()

    assert escaped == []
    assert seen.steps == [("started", 1, 1), ("interrupted", 1, 1)]
    assert seen.ends == [("interrupted", "interrupted")]
    assert seen.each_message_has_one_end()


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit])
def test_a_task_that_raises_no_exception_of_the_usual_kind(huey, seen, drain, kind):
    error = kind(3)

    @huey.task(retries=1)
    def send():
        raise error

    send()
    escaped = drain()

    assert escaped == [error]
    assert seen.steps == [("started", 1, 1), ("error-task", 1, 1)]
    assert seen.ends == [("error", "failure")]
    assert seen.events[-2]["exception"] == kind.__name__
    assert seen.each_message_has_one_end()


@needs_timeouts
@pytest.mark.parametrize(
    ("retries", "steps", "ends"),
    [
        pytest.param(
            0,
            [("started", 0, 1), ("timeout", 0, 1)],
            [("timeout", "timeout")],
            id="no retries",
        ),
        pytest.param(
            1,
            [
                ("started", 1, 1),
                ("timeout", 1, 1),
                ("retrying", 0, 1),
                ("started", 0, 2),
                ("timeout", 0, 2),
            ],
            [("timeout", None), ("timeout", "timeout")],
            id="one retry",
        ),
    ],
)
def test_a_task_that_times_out(
    huey,
    seen,
    drain,
    retries,
    steps,
    ends,
):
    @huey.task(retries=retries, timeout=0.001, context=True)
    def send(task):
        while True:
            task.check_timeout()

    send()
    drain()

    assert seen.steps == steps
    assert seen.ends == ends
    assert seen.published[1]["exception"] == "huey.exceptions.TaskTimeout"
    assert seen.each_message_has_one_end()


@needs_rate_limits
def test_a_rate_limited_task_is_retried_without_using_a_retry(huey, seen, drain):
    runs = []

    @huey.task()
    def send():
        runs.append(1)
        if len(runs) == 1:
            raise RateLimitExceeded("one", 60)

    send()
    drain()
    drain.ripe()

    assert seen.steps == [
        ("started", 0, 1),
        ("rate-limited", 0, 1),
        ("retrying", 0, 1),
        ("scheduled", 0, 2),
        ("started", 0, 2),
        ("finished", 0, 2),
    ]
    assert seen.ends == [("rate_limited", None), ("success", "success")]
    assert seen.each_message_has_one_end()


@needs_rate_limits
def test_a_rate_limited_task_that_is_not_retried(huey, seen, drain):
    @huey.task()
    @huey.rate_limit("one", 1, 3600, retry=False)
    def send(): ...

    send()
    send()
    drain()

    assert seen.steps == [
        ("started", 0, 1),
        ("finished", 0, 1),
        ("started", 0, 1),
        ("rate-limited", 0, 1),
    ]
    assert seen.ends == [("success", "success"), ("rate_limited", "rate_limited")]
    assert seen.each_message_has_one_end()


def test_a_revoked_task(huey, seen, drain):
    @huey.task(retries=1)
    def send(): ...

    send().revoke()
    drain()

    assert seen.steps == [("revoked", 1, 1)]
    assert seen.ends == [(None, "revoked")]
    assert seen.each_message_has_one_end()


def test_an_expired_task(huey, seen, drain):
    @huey.task(expires=60)
    def send(): ...

    send()
    drain(at=LATER)

    assert seen.steps == [("expired", 0, 1)]
    assert seen.ends == [(None, "expired")]
    assert seen.each_message_has_one_end()


def test_a_task_that_is_not_due(huey, seen, drain):
    @huey.task(retries=1)
    def send(): ...

    send.schedule(delay=60)
    drain()
    drain.ripe()

    assert seen.steps == [("scheduled", 1, 1), ("started", 1, 1), ("finished", 1, 1)]
    # The worker, the scheduler, and a worker again.
    assert seen.ends == [("success", "success")]
    assert seen.each_message_has_one_end()


def test_a_message_that_cannot_be_decoded(huey, seen, drain):
    huey.storage.enqueue(b"nonsense")

    escaped = drain()

    assert len(escaped) == 1
    assert seen.steps == [("error-dequeueing", None, None)]
    assert seen.ends == [(None, "lost")]
    assert seen.events[-1]["name"] == "_unknown"


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


def test_a_streak_of_messages_that_cannot_be_decoded_is_told_once(huey, seen, drain):
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


@pytest.mark.parametrize(
    "signal",
    ["enqueued", "executing", "error", "retrying", "scheduled", "complete"],
)
def test_a_receiver_that_raises_changes_nothing(huey, seen, drain, signal):
    runs = []

    @huey.task(retries=1, retry_delay=60)
    def send():
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("no")

    @huey.signal(signal)
    def receive(*_):
        raise ValueError("receiver")

    send()
    drain()
    drain.ripe()

    assert seen.steps == [
        ("started", 1, 1),
        ("error-task", 1, 1),
        ("retrying", 0, 1),
        ("scheduled", 0, 2),
        ("started", 0, 2),
        ("finished", 0, 2),
    ]
    assert seen.ends == [("error", None), ("success", "success")]
    assert seen.each_message_has_one_end()


def test_a_receiver_that_takes_the_retries_away(huey, seen, drain):
    @huey.task(retries=2)
    def send():
        raise ValueError("no")

    @huey.signal("error")
    def give_up(_signal, task, *_):
        task.retries = 0

    send()
    drain()

    assert seen.steps == [("started", 2, 1), ("error-task", 2, 1)]
    assert seen.ends == [("error", "failure")]


def test_a_receiver_that_gives_a_retry(huey, seen, drain):
    runs = []

    @huey.task()
    def send():
        runs.append(1)
        if len(runs) == 1:
            raise ValueError("no")

    @huey.signal("error")
    def once_more(_signal, task, *_):
        task.retries = 1

    send()
    drain()

    assert seen.steps == [
        ("started", 0, 1),
        ("error-task", 0, 1),
        ("retrying", 0, 1),
        ("started", 0, 2),
        ("finished", 0, 2),
    ]
    assert seen.ends == [("error", None), ("success", "success")]


def test_hooks_that_raise_change_nothing(huey, seen, drain):
    @huey.task()
    def send(): ...

    @huey.pre_execute()
    def before(_task):
        raise ValueError("before")

    @huey.post_execute()
    def after(*_):
        raise ValueError("after")

    send()
    escaped = drain()

    assert escaped == []
    assert seen.steps == [("started", 0, 1), ("finished", 0, 1)]
    assert seen.ends == [("success", "success")]


def test_a_backoff_shows_the_delay_that_this_retry_waits(huey, seen, drain):
    if not hasattr(huey.task()(lambda: None).task_class, "default_retry_backoff"):
        pytest.skip("huey has no backoff")

    @huey.task(retries=2, retry_delay=60, retry_backoff=2)
    def send():
        raise ValueError("no")

    send()
    drain()
    drain.ripe()

    assert [
        (event["status"], event["retry_delay"]) for event in seen.published[:6]
    ] == [
        ("started", 60),
        ("error-task", 60),
        ("retrying", 60),
        ("scheduled", 60),
        ("started", 120),
        ("error-task", 120),
    ]


def test_a_task_caught_by_the_end_of_the_consumer_is_interrupted(huey, seen, drain):
    @huey.task()
    def send():
        huey.notify_interrupted_tasks()

    send()
    escaped = drain()

    assert [type(error) for error in escaped] in ([], [KeyError])
    assert seen.steps == [("started", 0, 1), ("interrupted", 0, 1)]
    assert seen.ends == [("interrupted", "interrupted")]
    assert seen.each_message_has_one_end()


def test_a_copy_of_a_running_task_runs_its_own_arguments(huey, seen, drain):
    ran = []

    @huey.task(context=True)
    def send(number, task):
        ran.append(number)
        if number < 3:
            again = copy.copy(task)
            again.args = (number + 1,)
            huey.enqueue(again)

    huey.immediate = True
    send(1)

    assert ran == [1, 2, 3]


def test_nothing_is_left_on_a_task_while_it_runs(huey, seen, drain):
    found = []

    @huey.task(context=True)
    def send(task):
        found.append(set(vars(task)))

    send()
    drain()
    seen.instrumentation.uninstrument()
    send()
    drain()

    assert found[0] == found[1]
