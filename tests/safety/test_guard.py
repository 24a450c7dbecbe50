"""The guard: what is ours stays with us, what is the task's passes."""

import logging
import signal

import huey.exceptions
import pytest

from huey_otel._safety.guard import guarded
from huey_otel._tasks.attempt import running
from huey_otel._tasks.context import HERE
from tests.support.interruptions import Interruption
from tests.support.seen import Seen

TaskTimeout = getattr(huey.exceptions, "TaskTimeout", None)

needs_timeouts = pytest.mark.skipif(TaskTimeout is None, reason="huey has no timeouts")


@guarded
def fail(error):
    """What is guarded."""
    raise error


def test_our_own_exceptions_are_swallowed_and_counted(losses, caplog):
    results = [fail(ValueError("no")), fail(KeyError("no"))]

    assert results == [None, None]
    assert losses.counts() == {"internal": 2}
    # One line for the streak.
    (line,) = caplog.records
    assert line.getMessage() == (
        "ValueError in fail, telemetry was lost (counted as internal)"
    )
    assert line.exc_info[0] is ValueError


def test_what_is_returned_passes():
    @guarded
    def add(a, b=1):
        return a + b

    assert (add(1), add(1, b=2)) == (2, 3)


def test_an_error_of_an_odd_class_is_swallowed(losses):
    class Kind(type):
        def __getattribute__(cls, name):
            if name in ("__module__", "__qualname__", "__name__"):
                raise RuntimeError
            return super().__getattribute__(name)

    class OddError(Exception, metaclass=Kind):
        pass

    assert fail(OddError()) is None
    # pytest's own handler cannot print it either.
    assert losses.counts().keys() == {"internal"}


def test_what_a_handler_of_the_log_raises_is_swallowed_and_counted(losses):
    class Strict(logging.Handler):
        def emit(self, entry):
            raise ValueError(entry.getMessage())

    handler = Strict()
    logging.getLogger("huey.otel").addHandler(handler)
    result = fail(ValueError("no"))
    logging.getLogger("huey.otel").removeHandler(handler)

    assert result is None
    assert losses.counts() == {"internal": 2}


def test_a_guarded_function_keeps_its_name():
    assert (fail.__name__, fail.__doc__) == ("fail", "What is guarded.")


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException]
)
def test_what_is_not_ours_passes(kind, losses):
    with pytest.raises(kind):
        fail(kind())

    assert losses.counts() == {}


@needs_timeouts
def test_a_timeout_of_the_task_passes(losses):
    with pytest.raises(TaskTimeout):
        fail(TaskTimeout())

    assert losses.counts() == {}


def interrupted_everywhere(huey, kind):
    """Run a task that calls another, interrupted at each line of ours in turn."""
    interruptions = []

    @huey.task()
    def inner():
        return 1

    @huey.task()
    def outer():
        interruption = Interruption(len(interruptions), kind())
        interruptions.append(interruption)
        with interruption:
            inner()

    while not interruptions or interruptions[-1].happened:
        outer()
        if not huey.immediate:
            huey.execute(huey.dequeue())
            huey.storage.flush_queue()
        here = HERE.doing
        state = (here.attempts, here.outgoing, here.caller, here.trailer, running)
        assert state == ([], None, "call", None, {}), len(interruptions)
    return len(interruptions)


@needs_timeouts
def test_a_timeout_in_any_line_of_ours_ends_the_attempt_once(huey, seen):
    runs = interrupted_everywhere(huey, TaskTimeout)

    assert runs > 30
    assert [step[0] for step in seen.steps] == [
        *["started", "timeout"] * (runs - 1),
        *["started", "finished"],
    ]
    assert seen.ends == [("timeout", "timeout")] * (runs - 1) + [("success",) * 2]


@needs_timeouts
def test_a_timeout_around_a_nested_run_leaves_nothing_open(huey):
    huey.immediate = True
    seen = Seen(huey)

    runs = interrupted_everywhere(huey, TaskTimeout)

    assert runs > 100
    keys = seen.keys("ended")
    assert len(keys) == len(set(keys))


class OwnTimeoutError(Exception):
    """What an application's handler of SIGALRM raises."""


@pytest.mark.parametrize("bound", [False, True], ids=["function", "method"])
def test_what_a_signal_handler_raises_in_our_code_is_the_tasks(bound):
    class Alarm:
        def ring(self, _signum, _frame):
            raise OwnTimeoutError

    def ring(_signum, _frame):
        raise OwnTimeoutError

    before = signal.signal(signal.SIGALRM, Alarm().ring if bound else ring)

    @guarded
    def ours():
        signal.raise_signal(signal.SIGALRM)

    try:
        with pytest.raises(OwnTimeoutError):
            ours()
    finally:
        signal.signal(signal.SIGALRM, before)
