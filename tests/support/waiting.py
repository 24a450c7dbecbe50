"""The waits of the tests: until something is so, with a deadline."""

import time
from collections.abc import Callable

import pytest


def wait_until(ready: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Poll until *ready*, or fail the test."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"not ready after {seconds}s: {ready}")
        time.sleep(0.01)


def wait_to_read(
    read: Callable[[], object], expected: object, *, seconds: float = 60.0
) -> None:
    """Poll until *read* returns *expected*, or fail the test with what it returned."""
    deadline = time.monotonic() + seconds
    while (found := read()) != expected:
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds}s:\n{found!r}\nis not\n{expected!r}")
        time.sleep(0.01)
