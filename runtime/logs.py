"""The log of our processes: a line per record, in UTC, with its worker and its span."""

import logging
import time

from opentelemetry import trace
from opentelemetry.trace import format_span_id, format_trace_id


def configure(
    *, level: int, worker: str, file: str | None = None, simple: bool = False
) -> None:
    """Log records of *level* and above to *file*, or to standard error.

    *worker* is the attribute of a log record that names the worker. A *simple* line
    has a time and a text only; other lines have the ids of the current span as well.
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
    # Only huey logs its debug messages, not every library.
    root.setLevel(max(level, logging.INFO))
    logging.getLogger("huey").setLevel(level)


def _name_span(record: logging.LogRecord) -> bool:
    """Add the ids of the span that is current, if there is one, to *record*."""
    context = trace.get_current_span().get_span_context()
    record.span = (
        f" trace_id={format_trace_id(context.trace_id)}"
        f" span_id={format_span_id(context.span_id)}"
        if context.is_valid
        else ""
    )
    return True
