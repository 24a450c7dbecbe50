"""Calls that hooks, receivers and subclasses make: what huey does itself stays told."""

import contextlib
import copy
import sys
from collections.abc import Iterator

import pytest
from huey import MemoryHuey
from huey.api import Task
from huey.signals import SIGNAL_EXECUTING

from huey_otel import mapping
from huey_otel._tasks.context import HERE
from tests.support.recorded import LATER, Drain, Recorded


@contextlib.contextmanager
def consumed(huey: MemoryHuey) -> Iterator[Recorded]:
    """*huey*, instrumented, as in a process that runs a consumer."""
    seen = Recorded(huey, events=None)
    producer = huey._huey_otel.outputs.exposition.producer
    producer.over = True
    try:
        yield seen
    finally:
        seen.instrumentation.uninstrument()


def accepted(seen: Recorded) -> list[tuple[str, str]]:
    """Task and origin of each message that was counted."""
    return [
        (record.facts[1], record.extra["origin"])
        for record in seen.records
        if record.status == mapping.ACCEPTED
    ]


def unpicklable() -> None:
    """No result."""


@pytest.mark.parametrize("key", ["its own", "chord:1:0"])
@pytest.mark.parametrize("where", ["pre-execute", "receiver"])
def test_a_result_that_others_fail_to_store_is_no_failure_of_the_task(
    key: str, where: str
) -> None:
    huey = MemoryHuey("my-app")

    def store(task: Task) -> None:
        huey.put_result(task.id if key == "its own" else key, lambda: unpicklable)

    if where == "receiver":
        huey.signal(SIGNAL_EXECUTING)(lambda _, task: store(task))
    else:
        huey.pre_execute()(store)

    @huey.task()
    def work() -> int:
        return 1

    with consumed(huey) as seen:
        work()
        Drain(huey)()

        assert seen.ends == [("success", "success")]
        assert [one["status"] for one in seen.published] == ["started", "finished"]


class Copying(MemoryHuey):
    """Hands huey other Task objects than it is given."""

    def enqueue(self, task):
        return super().enqueue(copy.copy(task) if isinstance(task, Task) else task)


def test_work_that_a_subclass_copies_is_counted_by_its_origin() -> None:
    huey = Copying("my-app")

    @huey.task(retries=1)
    def bad() -> None:
        raise ValueError

    @huey.task()
    def ok(*_: object) -> int:
        return 1

    with consumed(huey) as seen:
        bad()
        huey.enqueue(ok.s().then(ok))
        Drain(huey)()

        assert sorted(accepted(seen)) == [
            *(("bad", "call"), ("bad", "retry")),
            *(("ok", "call"), ("ok", "pipeline")),
        ]


class Renaming(MemoryHuey):
    """Names the parameters of a method in its own way."""

    def put_result(self, result_key, value):
        return super().put_result(result_key, value)


def test_a_subclass_may_name_parameters_in_its_own_way() -> None:
    huey = Renaming("my-app")

    with consumed(huey):
        huey.put_result(result_key="x", value=1)

        assert huey.get("x") == 1


def test_an_exception_that_is_raised_twice_fails_both_times() -> None:
    huey = MemoryHuey("my-app")
    down = ConnectionError("down")

    @huey.task()
    def work() -> None: ...

    def refuse(*_: object) -> None:
        raise down

    with consumed(huey) as seen:
        huey.storage.enqueue = refuse
        with pytest.raises(ConnectionError):
            work()
        try:
            raise down
        except ConnectionError:
            with pytest.raises(ConnectionError):
                work()

        assert accepted(seen) == []


def test_an_exit_that_is_raised_twice_ends_the_run_with_an_error() -> None:
    huey = MemoryHuey("my-app", immediate=True)

    @huey.task()
    def work(error: BaseException) -> None:
        raise error

    with consumed(huey) as seen:
        try:
            sys.exit(1)
        except SystemExit as error:
            with pytest.raises(SystemExit):
                work(error)

        assert seen.ends == [("error", "failure")]


def test_a_task_that_puts_itself_on_the_schedule_is_new_work() -> None:
    huey, runs = MemoryHuey("my-app"), []

    @huey.task(context=True)
    def poll(task: Task) -> None:
        runs.append(task)
        if len(runs) == 1:
            huey.add_schedule(task)

    with consumed(huey) as seen:
        poll()
        Drain(huey)()
        for task in huey.read_schedule(LATER):
            huey.enqueue(task)

        assert accepted(seen) == [
            *(("poll", "call"), ("poll", "call"), ("poll", "scheduled")),
        ]


class Dropping(MemoryHuey):
    """Enqueues nothing."""

    def enqueue(self, _task):
        return None


def test_what_a_subclass_drops_in_immediate_mode_is_not_counted() -> None:
    huey = Dropping("my-app", immediate=True)

    @huey.task()
    def work() -> None: ...

    with consumed(huey) as seen:
        work()

        assert accepted(seen) == []


def test_a_body_that_enqueues_its_own_task_makes_a_call_and_no_retry() -> None:
    huey, runs = MemoryHuey("my-app", immediate=True), []

    @huey.task(retries=1, context=True)
    def work(task: Task) -> None:
        runs.append(task)
        if len(runs) == 1:
            raise ValueError
        if len(runs) == 2:
            huey.enqueue(task)

    with consumed(huey) as seen:
        work()

        assert sorted(accepted(seen)) == [
            *(("work", "call"), ("work", "call"), ("work", "retry")),
        ]


def test_a_thread_keeps_only_the_end_of_what_it_has_read() -> None:
    huey = MemoryHuey("my-app")

    with consumed(huey) as seen:
        huey.put("x", b"x" * 1_000_000)
        huey.get("x")

        kept = HERE.local.doing.incoming
        assert seen.published == []
        assert kept is not None
        assert len(kept) < 10_000
