"""The one wait of the tests: until something is so, with a deadline."""

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
