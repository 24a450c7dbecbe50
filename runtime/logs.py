"""The log of a process of ours: one line each, in UTC, with its worker and its span."""

import logging
import time

from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id


def configure(
    *, level: int, worker: str, file: str | None = None, simple: bool = False
) -> None:
    """Log to *file*, or to standard error, from *level* on.

    *worker* is the attribute of a log record that names the worker. A *simple*
    line has its time and its text. Others say the ids of the span, if there is one.
    """
    handler = logging.FileHandler(file) if file else logging.StreamHandler()
    formatter = logging.Formatter(
        "%(asctime)s %(message)s"
        if simple
        else f"%(asctime)s %(levelname)s %({worker})s %(name)s%(span)s: %(message)s"
    )
    formatter.converter = time.gmtime
    formatter.default_time_format = "%Y-%m-%dT%H:%M:%S"
    formatter.default_msec_format = "%s.%03dZ"
    handler.setFormatter(formatter)
    handler.addFilter(_name_span)
    root = logging.getLogger()
    root.addHandler(handler)
    # Debugging a queue is not debugging every library.
    root.setLevel(max(level, logging.INFO))
    logging.getLogger("huey").setLevel(level)


def _name_span(record: logging.LogRecord) -> bool:
    """Add the ids of the span that is current where *record* is made."""
    context = trace.get_current_span().get_span_context()
    record.span = (
        f" trace_id={format_trace_id(context.trace_id)}"
        f" span_id={format_span_id(context.span_id)}"
        if context.is_valid
        else ""
    )
    return True
