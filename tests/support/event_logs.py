"""Log records as they must be, of the event that says the same on Redis."""

from typing import Any

import pytest

from huey_otel._otel.log_records import too_old
from runtime.otlp_receiver import Log

needs_event_names = pytest.mark.skipif(
    bool(too_old()), reason="log records have the names of events from 1.37 on"
)

_NAMES = {
    "id": "messaging.message.id",
    "name": "huey.task.name",
    "attempt": "huey.task.attempt",
    "retries": "huey.task.retries_left",
    "retry_delay": "huey.task.retry_delay",
    "execute_time": "huey.task.eta",
    "worker": "huey.worker.name",
    "worker_type": "huey.worker.type",
    "queue": "messaging.destination.name",
    "wait": "huey.task.wait",
    "duration": "huey.task.duration",
    "origin": "huey.task.origin",
    "late": "huey.task.late",
    "count": "huey.event.count",
    "exception": "exception.type",
    "traceback": "exception.stacktrace",
    "publisher": "huey.event.publisher",
    "seq": "huey.event.seq",
}

OUTCOMES = {
    "finished": "success",
    "locked": "locked",
    "error-task": "error",
    "timeout": "timeout",
    "canceled": "canceled",
    "interrupted": "interrupted",
    "rate-limited": "rate_limited",
    "lost": "lost",
    "revoked": "revoked",
    "expired": "expired",
}


def said_by(event: dict[str, Any], client: str) -> dict[str, Any]:
    """What the log record of *event* must say, of the consumer called *client*.

    Without its resource, its scope, and when it was observed.
    """
    attributes = {
        name: event[key] for key, name in _NAMES.items() if event.get(key) is not None
    }
    attributes |= {"messaging.system": "huey", "messaging.client.id": client}
    delay = "huey.task.retry_delay"
    if delay in attributes:
        attributes[delay] = float(attributes[delay])
    status, about_task = event["status"], event["id"] is not None
    if event["worker"] is not None:
        attributes["huey.worker.pid"] = event["pid"]
    if about_task and status in OUTCOMES:
        attributes["huey.task.outcome"] = OUTCOMES[status]
    if event["error"]:
        kind = event.get("exception") or OUTCOMES.get(status)
        if kind is not None:
            attributes["error.type"] = kind
    line = f"{status} {event['name']}" if about_task else status
    if event.get("exception"):
        line += f": {event['exception']}"
    severity = "ERROR" if event["error"] else "INFO"
    if status == "retrying":
        severity = "WARN"
    return {
        "event_name": f"huey.{'task' if about_task else 'consumer'}.{status}",
        "severity": severity,
        "severity_text": severity,
        "body": line,
        "time": int(event["timestamp"] * 1e9),
        "trace_id": event.get("trace_id", ""),
        "span_id": event.get("span_id", ""),
        "flags": 1 if "trace_id" in event else 0,
        "attributes": attributes,
    }


def saying(log: Log) -> dict[str, Any]:
    """What *log* says, in the form of `said_by`."""
    names = ("event_name", "severity", "severity_text", "body", "time")
    ids = ("trace_id", "span_id", "flags", "attributes")
    return {name: getattr(log, name) for name in (*names, *ids)}


def without_numbers(said: dict[str, Any]) -> dict[str, Any]:
    """*said* without what each output of events numbers for itself."""
    numbers = {"huey.event.publisher", "huey.event.seq"}
    kept = {k: v for k, v in said["attributes"].items() if k not in numbers}
    return said | {"attributes": kept}
