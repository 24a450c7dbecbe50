"""The log: lines to `huey_otel`, of which no handler's exception reaches a task."""

import logging

from huey_otel import _names as n
from huey_otel._interrupts import is_the_applications

logger = logging.getLogger(n.LOGGER)


def warn(message: str, *values: object, error: bool = False) -> bool:
    """Log a warning; False if a handler or filter of the application raised.

    *error* logs the exception being handled as well. Call it with no lock held:
    a handler may enqueue, or wait for a thread that does.
    """
    try:
        logger.warning(message, *values, exc_info=error)
    except Exception as failure:
        if is_the_applications(failure):
            raise
        return False
    return True
