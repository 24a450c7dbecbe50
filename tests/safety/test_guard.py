"""The guard: what is ours stays with us, what is the task's passes."""

import logging
import signal

import huey.exceptions
import pytest

from huey_otel._safety.guard import guarded

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


def test_the_result_passes():
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


def test_the_exception_of_a_log_handler_is_swallowed_and_counted(losses):
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
def test_a_base_exception_passes(kind, losses):
    with pytest.raises(kind):
        fail(kind())

    assert losses.counts() == {}


@needs_timeouts
def test_a_timeout_of_the_task_passes(losses):
    with pytest.raises(TaskTimeout):
        fail(TaskTimeout())

    assert losses.counts() == {}


class OwnTimeoutError(Exception):
    """What an application's handler of SIGALRM raises."""


@pytest.mark.parametrize("bound", [False, True], ids=["function", "method"])
def test_the_exception_of_a_signal_handler_in_our_code_passes(bound):
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
