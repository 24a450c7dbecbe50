"""The ids of a span in numbers, and as W3C's header `traceparent` of version 00.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

import re
from typing import Final

HEADER: Final = "traceparent"

Ids = tuple[int, int, int]
"""A trace's id, a span's id and the flags, all as numbers."""

_parted: Final = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch


def written(trace_id: int, span_id: int, flags: int) -> str:
    """The ids as the header."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"


def read(text: str) -> Ids | None:
    """The ids that *text* has, None if it is no valid header of version 00."""
    parts = _parted(text)
    if parts is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in parts.groups())
    return (trace_id, span_id, flags) if trace_id and span_id else None
