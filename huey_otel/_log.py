"""The log: lines to `huey_otel`, of which no handler's exception reaches a task."""

import logging
from collections.abc import Iterable
from typing import Final

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


def warn_once(problems: Iterable[str], *, then: str = "") -> None:
    """Warn of each that was not said yet, and of what follows *then*.

    Several hueys read one environment, for spans and for metrics.
    """
    for problem in problems:
        if problem not in _said:
            _said.add(problem)
            warn("%s%s", problem, then)


_said: Final[set[str]] = set()
