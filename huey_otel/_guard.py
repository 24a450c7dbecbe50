"""The guard: no exception of ours reaches a task, a producer or the consumer."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import huey.exceptions

from huey_otel import _names as n
from huey_otel._losses import LOSSES

P = ParamSpec("P")
T = TypeVar("T")

# huey 3 raises it by SIGALRM at any bytecode, so also inside our code, and it is
# the task's. huey 2 has no timeouts.
_THE_TASKS_OWN: tuple[type[Exception], ...] = tuple(
    kind
    for kind in (getattr(huey.exceptions, "TaskTimeout", None),)
    if kind is not None
)


def guarded(function: Callable[P, T]) -> Callable[P, T | None]:
    """Make *function* return None instead of raising, and count what was raised.

    A task's timeout and every BaseException pass, because they are meant for
    the task that we happened to interrupt.
    """

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except _THE_TASKS_OWN:
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
        why=f"{type(error).__name__} in {where.__qualname__}, telemetry was lost",
        error=True,
    )
