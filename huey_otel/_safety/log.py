"""The log: lines to `huey.otel`; no exception of its handlers reaches a task."""

import logging
import sys
import traceback
from collections.abc import Iterable
from typing import Final
from weakref import WeakSet

from huey_otel import _names as n
from huey_otel._safety import encodable
from huey_otel._safety.failures import class_name
from huey_otel._safety.redaction import said
from huey_otel._safety.timeout import is_the_applications, or_else

logger = logging.getLogger(n.LOGGER)

RETICENT: Final[WeakSet[object]] = WeakSet()
"""The instrumentations that have `tracebacks=False`.

While there is one, the log of the whole process shows of an exception only its class
and its lines of code, not its message."""


def described(error: BaseException) -> str:
    """The class of *error*, and its message unless that is withheld."""
    kind = class_name(error)
    return kind if RETICENT else f"{kind}: {said(error)}"


def warn(text: str, *values: object, error: bool = False) -> bool:
    """Log a warning; False if a handler or filter of the application raised.

    *error* logs the exception being handled as well. Call it with no lock held:
    a handler may enqueue, or wait for a thread that does.
    """
    values = tuple(map(_encodable, values))
    trace = or_else(_trace, lambda _: None) if error else None
    if trace is not None:
        text, values = f"{text}\n%s", (*values, trace)
    try:
        logger.warning(text, *values, exc_info=error and trace is None and not RETICENT)
    except Exception as failure:
        if is_the_applications(failure):
            raise
        return False
    return True


def _encodable(value: object) -> object:
    return encodable.text(value) if isinstance(value, str) else value


def _trace() -> str | None:
    """The traceback of the exception being handled, if logging cannot write it."""
    error = sys.exception()
    if error is not None and RETICENT:
        # Without its causes, which may be exceptions of a task.
        lines = traceback.format_tb(error.__traceback__)
        whole = "".join(["Traceback (most recent call last):\n", *lines])
        return encodable.text(whole + class_name(error))
    whole = "".join(traceback.format_exception(error)).rstrip()
    mended = encodable.text(whole)
    return None if mended is whole else mended


def warn_once(problems: Iterable[str], *, then: str = "") -> None:
    """Warn of each problem once in this process, followed by *then*.

    Several hueys read one environment, for spans and for metrics.
    """
    for problem in problems:
        if problem not in _warned:
            _warned.add(problem)
            warn("%s%s", problem, then)


_warned: Final[set[str]] = set()
