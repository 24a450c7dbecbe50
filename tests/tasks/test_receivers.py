"""Receivers, hooks and copies: what the application does around a run."""

import copy

import pytest


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
