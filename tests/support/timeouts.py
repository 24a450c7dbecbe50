"""The timeouts of huey, as a test sets them."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from huey import consumer


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Without coverage, whose own lock an alarm would leave taken."""
    before = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(before)


def alarm() -> Callable[..., Any]:
    """What ends a task in time in a worker process, where huey itself honours it."""
    timeout: Callable[..., Any] | None
    timeout = getattr(consumer.ProcessEnvironment(), "timeout", None)
    if timeout is None:
        pytest.skip("huey up to 3.4 swallows a timeout that hits it at a signal")
    return timeout
