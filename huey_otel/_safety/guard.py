"""The guard: no exception of ours reaches a task, a producer or the consumer."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from huey_otel import _names as n
from huey_otel._safety.failures import class_name
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import (
    GUARDS,
    OVERDUE,
    is_the_applications,
    raise_what_is_overdue,
    waits,
)

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def guarded(function: Callable[P, T]) -> Callable[P, T | None]:
    """Make *function* return None instead of raising, and count what it raised.

    The exceptions that are for the task pass: of a signal handler, a BaseException
    that is no Exception, and, at the outermost guard, its timeout.
    """

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T | None:
        result: T | None
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            if not is_the_applications(error):
                swallow(error, function)
            elif not waits(error, sys._getframe(1)):  # noqa: SLF001
                raise
            result = None
        if OVERDUE:
            raise_what_is_overdue()
        return result

    return inner


_entrance: Final[Any] = guarded(class_name)
GUARDS.add(_entrance.__code__)


def guards_itself(function: F) -> F:
    """Mark *function*, on every task's path, as one that saves the call of a wrapper.

    Its body is in a `try`, whose `except Exception` calls `absorb`; what is overdue
    is raised behind that, as `guarded` does.
    """
    GUARDS.add(function.__code__)
    return function


def absorb(error: Exception, where: Callable[..., Any]) -> None:
    """Count *error*, raised in *where*, unless it is for the task: then raise it."""
    if not is_the_applications(error):
        swallow(error, where)
    elif not waits(error, sys._getframe(2)):  # noqa: SLF001
        raise error


def swallow(error: Exception, where: Callable[..., Any]) -> None:
    """Count *error*, raised by our own code in *where*, and log it once per streak."""
    name = getattr(where, "__qualname__", type(where).__qualname__)
    why = f"{class_name(error)} in {name}, telemetry was lost"
    LOSSES.count(n.LOSS_INTERNAL, streak=name, why=why, error=True)
