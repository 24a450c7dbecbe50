"""The guard: what is ours stays with us, what is the task's passes."""

import sys

import huey.exceptions
import pytest

import huey_otel
from huey_otel._attempts import HERE, running
from huey_otel._guard import guarded
from tests.support_seen import Seen

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


class Interruption:
    """Raises *error* in the line number *at* of our own code that is run."""

    def __init__(self, at, error):
        self._left = at
        self._error = error
        self._ours = huey_otel.__path__[0]

    def __enter__(self):
        # Coverage has a trace function too.
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    @property
    def happened(self):
        return self._left < 0

    def _called(self, frame, _event, _arg):
        ours = frame.f_code.co_filename.startswith(self._ours)
        return self._line if ours and self._left >= 0 else None

    def _line(self, _frame, event, _arg):
        if event == "line":
            self._left -= 1
            if self._left == -1:
                sys.settrace(None)
                raise self._error
        return self._line


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
        state = (HERE.attempts, HERE.outgoing, HERE.caller, HERE.trailer, running)
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
