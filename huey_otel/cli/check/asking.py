"""Asking: questions to a server, each of which may be refused, in bounded time."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from huey_otel._safety.redaction import said
from huey_otel._safety.timeout import or_else
from huey_otel.cli.check.finding import Unknown

T = TypeVar("T")

PATIENCE: Final = 10.0
"""Seconds for all questions about one target, each of which has 2."""


class Asking:
    """Asks questions; one that comes too late is not asked."""

    def __init__(self) -> None:
        self._until = time.monotonic() + PATIENCE

    def __call__(self, what: str, question: Callable[[], T]) -> T | Unknown:
        """The answer to *question*, which is called *what*."""
        if time.monotonic() > self._until:
            return Unknown(f"{what} was not asked, as other answers took long")

        def ask() -> T | Unknown:
            return question()

        return or_else(ask, lambda error: _unanswered(what, error))


def _unanswered(what: str, error: Exception) -> Unknown:
    from redis.exceptions import ResponseError

    if isinstance(error, ResponseError):
        return Unknown(f"{what} is refused ({said(error)})")
    # A proxy may hang up, or answer what redis-py cannot read.
    return Unknown(f"{what} is not answered ({said(error)})")
