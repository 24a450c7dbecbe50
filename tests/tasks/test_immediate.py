"""In immediate mode a retry and a next stage run inside the attempt before."""

from unittest import mock

import pytest
from huey import MemoryHuey


class DownError(Exception):
    """What a broken storage raises."""


@pytest.fixture
def huey():
    return MemoryHuey("my-app", immediate=True)


def test_retries_nest(huey, seen):
    @huey.task(retries=2)
    def send():
        raise ValueError("no")

    send()

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
    assert seen.ends == [("error", "failure"), ("error", None), ("error", None)]


def test_stages_nest(huey, seen):
    @huey.task()
    def first():
        return 1

    @huey.task()
    def second(number):
        return number + 1

    huey.enqueue(first.s().then(second))

    assert [(e["task"], e["status"]) for e in seen.published] == [
        ("first", "started"),
        ("first", "finished"),
        ("second", "started"),
        ("second", "finished"),
    ]
    assert seen.ends == [("success", "success")] * 2


def test_a_task_called_by_a_task_ends_before_it(huey, seen):
    @huey.task()
    def inner():
        raise ValueError("inner")

    @huey.task()
    def outer():
        inner()
        return 1

    outer()

    assert [(e["task"], e["status"]) for e in seen.published] == [
        ("outer", "started"),
        ("inner", "started"),
        ("inner", "error-task"),
        ("outer", "finished"),
    ]
    assert seen.ends == [("error", "failure"), ("success", "success")]


def test_a_task_that_calls_another_while_it_handles_an_error(huey, seen):
    @huey.task()
    def inner():
        return 1

    @huey.task()
    def outer():
        try:
            raise ValueError("handled")
        except ValueError:
            inner()
        return 1

    outer()

    assert seen.ends == [("success", "success")] * 2


def test_a_delayed_retry_stays_on_the_schedule(huey, seen):
    @huey.task(retries=1, retry_delay=60)
    def send():
        raise ValueError("no")

    send()

    assert seen.steps == [
        ("started", 1, 1),
        ("error-task", 1, 1),
        ("retrying", 0, 1),
        ("scheduled", 0, 2),
    ]
    assert seen.ends == [("error", None)]


def test_a_result_that_cannot_be_stored(huey, seen):
    @huey.task()
    def send():
        return 1

    with (
        mock.patch.object(huey.storage, "put_data", side_effect=DownError),
        pytest.raises(DownError),
    ):
        send()

    assert seen.steps == [("started", 0, 1), ("error-storing-result", 0, 1)]
    assert seen.ends == [("success", "failure")]


def test_an_inner_failure_to_store_is_not_the_outer_ones(huey, seen):
    @huey.task()
    def inner():
        return 1

    @huey.task()
    def outer():
        with mock.patch.object(huey.storage, "put_data", side_effect=DownError):
            inner()

    outer()

    assert [(e["task"], e["status"]) for e in seen.published] == [
        ("outer", "started"),
        ("inner", "started"),
        ("inner", "error-storing-result"),
        ("outer", "error-task"),
    ]
    assert seen.ends == [("success", "failure"), ("error", "failure")]
