"""Attributes: what spans say of their operation, of a task, and of an exception."""

from typing import Any, Final

from huey.api import Task
from opentelemetry.trace import Span, Status, StatusCode

from huey_otel import _names as n
from huey_otel._safety import failures
from huey_otel._safety.encodable import number
from huey_otel._safety.forks import in_child
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import TaskFacts

_MOST_TASKS: Final = 10_000
_LONGEST_DESCRIPTION: Final = 1_024


class Operation:
    """Spans called *name* on *queue*, of the messaging operation type *kind*.

    `attributes` are what all of them have.
    """

    def __init__(self, name: str, kind: str, queue: str, naming: str) -> None:
        self._name = name
        self._queue = None if naming == n.NAMING_TASK else queue
        self.attributes: dict[str, Any] = {
            n.MESSAGING_SYSTEM: n.SYSTEM,
            n.MESSAGING_OPERATION_NAME: name,
            n.MESSAGING_OPERATION_TYPE: kind,
            n.MESSAGING_DESTINATION_NAME: queue,
        }
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        # A child that is no worker is a client of its own.
        self.attributes[n.MESSAGING_CLIENT_ID] = CLIENT.id
        self._of: dict[str, tuple[str, dict[str, Any]]] = {}

    def named(self, what: str) -> str:
        """The name of a span that is about *what*."""
        return f"{self._name} {self._queue or what}"

    def of(self, task: str) -> tuple[str, dict[str, Any]]:
        """The name and the attributes, to be copied, of spans about *task*."""
        known = self._of.get(task)
        if known is None:
            if len(self._of) >= _MOST_TASKS:
                # An application may declare and unregister tasks without end.
                self._of.clear()
            known = self.named(task), {**self.attributes, n.TASK_NAME: task}
            self._of[task] = known
        return known


def attributes_of(
    known: dict[str, Any], task: Task, facts: TaskFacts, retries: object
) -> dict[str, Any]:
    """What the spans of an enqueue and of an attempt say of *task*, in one dict."""
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
    """Record an exception on *span*; *text* is its traceback."""
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
