"""The log: lines to `huey_otel`, of which no handler's exception reaches a task."""

import logging
from typing import Final

import huey.exceptions

from huey_otel import _names as n

logger = logging.getLogger(n.LOGGER)

# huey 3 raises it by SIGALRM at any bytecode, so also inside our code, and it is
# the task's. huey 2 has no timeouts.
THE_TASKS_OWN: Final[tuple[type[Exception], ...]] = tuple(
    kind
    for kind in (getattr(huey.exceptions, "TaskTimeout", None),)
    if kind is not None
)


def warn(message: str, *values: object, error: bool = False) -> bool:
    """Log a warning; False if a handler or filter of the application raised.

    *error* logs the exception being handled as well. Call it with no lock held:
    a handler may enqueue, or wait for a thread that does.
    """
    try:
        logger.warning(message, *values, exc_info=error)
    except THE_TASKS_OWN:
        raise
    except Exception:  # noqa: BLE001 - there is no log to tell it to
        return False
    return True
