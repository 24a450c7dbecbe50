"""Instructions: what a call costs on any machine, however busy it is."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tests.support.timeouts import untraced

TIMES = 20


def instructions(work: Callable[[], object]) -> float:
    """How many of Python's own instructions *work* takes, on average."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    for _ in range(TIMES):
        work()
    with untraced():
        sys.settrace(trace)
        try:
            for _ in range(TIMES):
                work()
        finally:
            sys.settrace(None)
    return count / TIMES
