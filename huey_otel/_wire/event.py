"""Spelling: a record as readers of Redis get it, in JSON."""

import json
import math
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any, Final

from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.events import Event
from huey_otel.mapping import TABLE

_ERRORS: Final = frozenset(status for status, row in TABLE.items() if row.error)
_NULL: Final = "null"
_BITS: Final = 1_024
"""Of an integer; one of more is past all floats, which most readers make of it."""

_ELSEWHERE: Final = ("traceback", "outcome", "final", "after")
"""What is written before, or is for the metrics or the in-flight table."""

_LONE: Final = re.compile("[\ud800-\udfff]")
_quoted: Final = encode_basestring
_encoded: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=str
).encode


def spell(record: Record, source: Source) -> str:
    """Write *record* out as the event that is published.

    The order of keys up to `execute_time` is that of huey 1.10. Put together by
    hand: it is half of all that an event costs, and in a dict and an encoder
    it takes more than twice as long.
    """
    _, status, timestamp, pid, _, worker, facts, retries, extra, _ = record
    identity = task = name = retry_delay = due = _NULL
    attempt: int | str = _NULL
    trace_id = span_id = None
    if facts is not None:
        told = TaskFacts(*facts)
        identity, task, name = _quoted(told.id), _quoted(told.task), _quoted(told.name)
        retry_delay, due = _json(told.retry_delay), _json(told.execute_time)
        attempt, trace_id, span_id = told.attempt, told.trace_id, told.span_id
    extra = extra or {}
    error = "false"
    if status in _ERRORS:
        error = f'true,"traceback":{_json(extra.get("traceback"))}'
    hand = '"worker":null,"worker_type":null'
    if worker is not None:
        hand = f'"worker":{_quoted(worker)},"worker_type":{_json(source.worker_type)}'
    text = (
        f'{{"status":"{status}","error":{error},"id":{identity},"task":{task}'
        f',"retries":{_json(retries)},"retry_delay":{retry_delay}'
        f',"execute_time":{due},"timestamp":{_json(timestamp)}'
        f',"queue":{_quoted(source.queue)},"name":{name},"attempt":{attempt}'
        f',{hand},"pid":{pid},"host":{_quoted(source.host)}'
    )
    for key, value in extra.items():
        if key not in _ELSEWHERE:
            text += f',"{key}":{_json(value)}'
    if trace_id is not None:
        text += f',"trace_id":"{trace_id}","span_id":{_json(span_id)}'
    text += "}"
    return text if text.isascii() else _LONE.sub(_as_text, text)


def to_event(record: Record, source: Source) -> Event:
    """What a reader makes of *record*."""
    event: Event = json.loads(spell(record, source))
    return event


def _as_text(lone: re.Match[str]) -> str:
    """Spell a lone surrogate as text: its escape in JSON is none that readers take."""
    return f"\\\\u{ord(lone[0]):04x}"


def _json(value: Any) -> str:
    written = _OF_TYPE.get(type(value), _encoded)
    return written(value)


def _whole(value: int) -> str:
    # Python writes no integer of more than 4,300 digits.
    return int.__repr__(value) if value.bit_length() < _BITS else _NULL


def _seconds(value: float) -> str:
    return float.__repr__(value) if math.isfinite(value) else _NULL


_OF_TYPE: Final[dict[type, Callable[[Any], str]]] = {
    str: _quoted,
    int: _whole,
    float: _seconds,
    type(None): lambda _: _NULL,
}
