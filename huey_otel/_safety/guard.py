"""The guard: no exception of ours reaches a task, a producer or the consumer."""

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
            elif not waits(error):
                raise
            result = None
        if OVERDUE:
            raise_what_is_overdue()
        return result

    return inner


_entrance: Final[Any] = guarded(class_name)
GUARDS.add(_entrance.__code__)


def swallow(error: Exception, where: Callable[..., Any]) -> None:
    """Count *error*, raised by our own code in *where*, and log it once per streak."""
    LOSSES.count(
        n.LOSS_INTERNAL,
        streak=where.__qualname__,
        why=f"{class_name(error)} in {where.__qualname__}, telemetry was lost",
        error=True,
    )
