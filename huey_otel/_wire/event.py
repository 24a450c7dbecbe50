"""The event: a record as readers of Redis get it, in JSON."""

import json
import math
import re
from typing import Any, Final

from huey_otel._wire.record import NOT_IN_EVENTS, Record, Source, TaskFacts
from huey_otel.mapping import TABLE

_ERRORS: Final = frozenset(status for status, row in TABLE.items() if row.error)
_NO_TASK: Final = (None,) * 6
_LARGEST_BITS: Final = 1_024
"""Of an integer; a larger one is past all floats, which most readers make of it."""

_NOT_FURTHER_KEYS: Final = frozenset({"traceback", *NOT_IN_EVENTS})
"""`traceback` is written with `error`."""

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def spell(record: Record, source: Source, publisher: str, seq: int) -> str:
    """Write *record* out as event number *seq* of *publisher*.

    The order of keys up to `execute_time` is that of huey 1.10.
    """
    task = TaskFacts(*(record.facts or _NO_TASK))
    extra = record.extra or {}
    is_error = record.status in _ERRORS
    event: dict[str, Any] = {"status": record.status, "error": is_error}
    if is_error:
        event["traceback"] = extra.get("traceback")
    event |= {
        "id": task.id,
        "task": task.task,
        "retries": _number(record.retries),
        "retry_delay": _number(task.retry_delay),
        "execute_time": _number(task.execute_time),
        "timestamp": _number(record.timestamp),
        "queue": source.queue,
        "name": task.name,
        "attempt": task.attempt,
        "worker": record.worker,
        "worker_type": None if record.worker is None else source.worker_type,
        "pid": record.pid,
        "host": source.host,
        "publisher": publisher,
        "seq": seq,
    }
    for key, value in extra.items():
        if key not in _NOT_FURTHER_KEYS:
            event[key] = _number(value)
    if task.trace_id and task.span_id:
        event["trace_id"] = f"{task.trace_id:032x}"
        event["span_id"] = f"{task.span_id:016x}"
    text = _ENCODER.encode(event)
    return text if text.isascii() else _LONE_SURROGATE.sub(_as_text, text)


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=str
)


def _number(value: Any) -> Any:
    """*value*, or None for a number that JSON or most of its readers do not take."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int:
        # Python writes no integer of more than 4,300 digits.
        return value if value.bit_length() < _LARGEST_BITS else None
    return value


def _as_text(lone: re.Match[str]) -> str:
    """Spell a lone surrogate as text: readers do not take its escape in JSON."""
    return f"\\\\u{ord(lone[0]):04x}"
