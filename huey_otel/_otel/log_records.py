"""Log records: events as OpenTelemetry's logs have them, with the names of spans."""

import inspect
import re
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk.version import __version__
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from huey_otel import _names as n
from huey_otel._otel.current import with_span
from huey_otel._otel.spans import ROOT
from huey_otel._safety.encodable import number, text
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.mapping import TABLE

OLDEST_SDK: Final = (1, 37)
"""The first opentelemetry-sdk whose log records have the names of events."""

FURTHER: Final[Mapping[str, str]] = {
    "wait": n.TASK_WAIT,
    "duration": n.EVENT_DURATION,
    "origin": n.EVENT_ORIGIN,
    "late": n.EVENT_LATE,
    "count": n.EVENT_COUNT,
    "exception": n.EXCEPTION_TYPE,
    "traceback": n.EXCEPTION_STACKTRACE,
}
"""The attributes for the further keys of an event."""

_SEVERITIES: Final = {name: SeverityNumber[name] for name in ("INFO", "WARN", "ERROR")}
_LATEST: Final = 1.8e10
"""In Unix seconds; OTLP's nanoseconds have 64 bits."""

_FLAGS: Final = TraceFlags(TraceFlags.SAMPLED)


def too_old() -> str:
    """Why the OpenTelemetry that is installed has no log records of events, or ""."""
    installed = tuple(map(int, re.findall(r"\d+", __version__)[:2]))
    named = "event_name" in inspect.signature(LogRecord.__init__).parameters
    if named and installed >= OLDEST_SDK:
        return ""
    return (
        f"expected opentelemetry-sdk {'.'.join(map(str, OLDEST_SDK))} or newer, whose"
        f" log records have the names of events; {__version__} is installed"
    )


def log_record(record: Record, source: Source, publisher: str, seq: int) -> LogRecord:
    """The log record of the event *record*, which is number *seq* of *publisher*.

    Its body is a line for people; its attributes have all that the event says.
    """
    row = TABLE[record.status]
    task = None if record.facts is None else TaskFacts(*record.facts)
    about = n.EVENT_OF_CONSUMER if task is None else n.EVENT_OF_TASK
    attributes: dict[str, Any] = {
        n.MESSAGING_SYSTEM: n.SYSTEM,
        n.MESSAGING_DESTINATION_NAME: source.queue,
        n.MESSAGING_CLIENT_ID: CLIENT.id,
        n.EVENT_PUBLISHER: publisher,
        n.EVENT_SEQ: seq,
    }
    for key, value in _further(record, source, task).items():
        sayable = text(value) if isinstance(value, str) else number(value)
        if sayable is not None:
            attributes[key] = sayable
    return LogRecord(
        timestamp=_nanoseconds(record.timestamp),
        context=_context(task),
        severity_text=row.severity,
        severity_number=_SEVERITIES[row.severity],
        body=_line(record.status, task, attributes.get(n.EXCEPTION_TYPE)),
        attributes=attributes,
        event_name=f"{about}{record.status}",
    )


def _further(record: Record, source: Source, task: TaskFacts | None) -> dict[str, Any]:
    """What not all events have; None is left out, as on spans."""
    row, extra = TABLE[record.status], record.extra or {}
    further: dict[str, Any] = {}
    if task is not None:
        further = {
            n.MESSAGING_MESSAGE_ID: task.id,
            n.TASK_NAME: task.name,
            n.TASK_ATTEMPT: task.attempt,
            n.TASK_RETRIES_LEFT: record.retries,
            n.EVENT_RETRY_DELAY: _seconds(task.retry_delay),
            n.TASK_ETA: task.execute_time,
            n.TASK_OUTCOME: row.outcome or row.final,
        }
    if record.worker is not None:
        further[n.WORKER_NAME] = record.worker
        further[n.WORKER_TYPE] = source.worker_type
        further[n.WORKER_PID] = record.pid
    for key, name in FURTHER.items():
        further[name] = extra.get(key)
    if row.error:
        # As on spans: an attempt that failed without an exception has its outcome.
        further[n.ERROR_TYPE] = extra.get("exception") or row.outcome
    return further


def _seconds(value: Any) -> float | None:
    """*value* as a float, whose column in a store a whole number would not fit."""
    known = number(value)
    return None if known is None else float(known)


def _line(status: str, task: TaskFacts | None, exception: str | None) -> str:
    line = status if task is None else f"{status} {text(task.name)}"
    return line if exception is None else f"{line}: {exception}"


def _nanoseconds(seconds: float) -> int:
    known = number(seconds)
    return 0 if known is None else int(min(max(known, 0.0), _LATEST) * 1e9)


def _context(task: TaskFacts | None) -> Context:
    """The context whose span is that of the attempt, if it was sampled."""
    if task is None or not (task.trace_id and task.span_id):
        return ROOT
    ids = SpanContext(task.trace_id, task.span_id, is_remote=False, trace_flags=_FLAGS)
    return with_span(NonRecordingSpan(ids), ROOT)
