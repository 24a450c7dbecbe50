"""Spans: what they say of a task, and of an exception."""

from typing import Any, Final

from huey.api import Task
from opentelemetry.trace import Span, Status, StatusCode

from huey_otel import _names as n
from huey_otel._safety import failures
from huey_otel._safety.encodable import number
from huey_otel._wire.record import TaskFacts

_LONGEST_DESCRIPTION: Final = 1_024


def attributes_of(
    known: dict[str, Any], task: Task, facts: TaskFacts, retries: object
) -> dict[str, Any]:
    """All that spans say of *task* at either end, at once: it costs least so."""
    attributes = known.copy()
    attributes[n.MESSAGING_MESSAGE_ID] = facts.id
    attributes[n.TASK_ATTEMPT] = facts.attempt
    left = number(retries)
    if left is not None:
        attributes[n.TASK_RETRIES_LEFT] = left
    if task.priority is not None:
        priority = number(task.priority)
        if priority is not None:
            attributes[n.TASK_PRIORITY] = priority
    if facts.execute_time is not None:
        attributes[n.TASK_ETA] = facts.execute_time
    return attributes


def record(
    span: Span, name: str, message: str | None, text: str | None, end: int | None = None
) -> None:
    """Record an exception as far as it is known; its traceback has a limit."""
    span.set_attribute(n.ERROR_TYPE, name)
    span.set_status(Status(StatusCode.ERROR, message))
    attributes = {n.EXCEPTION_TYPE: name}
    if message is not None:
        attributes[n.EXCEPTION_MESSAGE] = message
    if text is not None:
        attributes[n.EXCEPTION_STACKTRACE] = text
    span.add_event(n.EXCEPTION, attributes, end)


def message_of(error: BaseException | None) -> str | None:
    """What *error* says, at most 1,024 characters; None for none."""
    return None if error is None else failures.message(error)[:_LONGEST_DESCRIPTION]
