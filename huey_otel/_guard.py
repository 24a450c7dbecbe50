"""The guard: no exception of ours reaches a task, a producer or the consumer."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from huey_otel import _names as n
from huey_otel._failures import class_name
from huey_otel._log import THE_TASKS_OWN
from huey_otel._losses import LOSSES

P = ParamSpec("P")
T = TypeVar("T")


def guarded(function: Callable[P, T]) -> Callable[P, T | None]:
    """Make *function* return None instead of raising, and count what was raised.

    A task's timeout and every BaseException pass, because they are meant for
    the task that we happened to interrupt.
    """

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except THE_TASKS_OWN:
            raise
        except Exception as error:  # noqa: BLE001 - the one place for it
            swallow(error, function)
            return None

    return inner


def swallow(error: Exception, where: Callable[..., Any]) -> None:
    """Count *error*, raised by our own code in *where*, and log it once per streak."""
    LOSSES.count(
        n.LOSS_INTERNAL,
        streak=where.__qualname__,
        why=f"{class_name(error)} in {where.__qualname__}, telemetry was lost",
        error=True,
    )
