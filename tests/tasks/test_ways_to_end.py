"""Every way an attempt can end, as the whole list of what was said of it."""

import huey as huey_package
import huey.exceptions
import pytest
from huey import CancelExecution, RetryTask

from tests.support.recorded import LATER

TaskTimeout = getattr(huey_package.exceptions, "TaskTimeout", None)


RateLimitExceeded = getattr(huey_package.exceptions, "RateLimitExceeded", None)


needs_timeouts = pytest.mark.skipif(TaskTimeout is None, reason="huey has no timeouts")


needs_rate_limits = pytest.mark.skipif(
    RateLimitExceeded is None, reason="huey has no rate limits"
)


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
def test_a_task_that_raises_a_base_exception(huey, seen, drain, kind):
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
