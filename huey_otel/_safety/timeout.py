"""Interrupts: exceptions that are the application's, although raised in our code."""

import signal
from collections.abc import Callable
from typing import Final, TypeVar

import huey.exceptions

T = TypeVar("T")

# huey 3 raises it by SIGALRM at any bytecode. huey 2 has no timeouts.
_TIMEOUT: Final = getattr(huey.exceptions, "TaskTimeout", None)


def is_the_applications(error: BaseException) -> bool:
    """Whether *error* is meant for the code that we happened to interrupt.

    A task's timeout is, and what a handler for a signal raised, such as the
    TimeoutError of a SIGALRM: it may come at any bytecode, so also in ours.
    """
    if _TIMEOUT is not None and isinstance(error, _TIMEOUT):
        return True
    handlers = _handlers()
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in handlers:
            return True
        trace = trace.tb_next
    return False


def or_else(make: Callable[[], T], fallback: Callable[[Exception], T]) -> T:
    """What *make* returns, or *fallback* of what somebody's code raised in there."""
    try:
        return make()
    except Exception as error:
        if is_the_applications(error):
            raise
        return fallback(error)


def _handlers() -> set[object]:
    """The code of all signal handlers that are written in Python."""
    handlers = map(signal.getsignal, signal.valid_signals())
    functions = [getattr(handler, "__func__", handler) for handler in handlers]
    return {getattr(function, "__code__", None) for function in functions} - {None}
