"""The log: lines to `huey.otel`, of which no handler's exception reaches a task."""

import logging
import sys
import traceback
from collections.abc import Iterable
from typing import Final

from huey_otel import _names as n
from huey_otel import _sayable
from huey_otel._interrupts import is_the_applications, or_else

logger = logging.getLogger(n.LOGGER)


def warn(message: str, *values: object, error: bool = False) -> bool:
    """Log a warning; False if a handler or filter of the application raised.

    *error* logs the exception being handled as well. Call it with no lock held:
    a handler may enqueue, or wait for a thread that does.
    """
    values = tuple(map(_said, values))
    trace = or_else(_unwritable, lambda _: None) if error else None
    if trace is not None:
        message, values, error = f"{message}\n%s", (*values, trace), False
    try:
        logger.warning(message, *values, exc_info=error)
    except Exception as failure:
        if is_the_applications(failure):
            raise
        return False
    return True


def _said(value: object) -> object:
    return _sayable.text(value) if isinstance(value, str) else value


def _unwritable() -> str | None:
    """The traceback of the exception being handled, if no handler could write it."""
    whole = "".join(traceback.format_exception(sys.exception())).rstrip()
    said = _sayable.text(whole)
    return None if said is whole else said


def warn_once(problems: Iterable[str], *, then: str = "") -> None:
    """Warn of each that was not said yet, and of what follows *then*.

    Several hueys read one environment, for spans and for metrics.
    """
    for problem in problems:
        if problem not in _warned:
            _warned.add(problem)
            warn("%s%s", problem, then)


_warned: Final[set[str]] = set()
