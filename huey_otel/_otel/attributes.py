"""Attributes: what spans say of their operation, of a task, and of an exception."""

from typing import Any, Final

from opentelemetry.trace import Span, Status, StatusCode

from huey_otel import _names as n
from huey_otel._safety import encodable, failures
from huey_otel._safety.encodable import number
from huey_otel._safety.forks import in_child
from huey_otel._wire.client import CLIENT

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

    def described(
        self,
        facts: tuple[Any, ...],
        retries: float | None,
        priority: float | None,
        wait: float | None = None,
        outcome: str | None = None,
        worker: str | None = None,
        chord_size: int | None = None,
    ) -> tuple[str, dict[str, Any]]:
        """The name and the attributes of a span about a task; None is left out."""
        identity, _, task, _, execute_time, attempt, *_ = facts
        known = self._of.get(task)
        if known is None:
            if len(self._of) >= _MOST_TASKS:
                # An application may declare and unregister tasks without end.
                self._of.clear()
            known = self.named(task), {**self.attributes, n.TASK_NAME: task}
            self._of[task] = known
        name, attributes = known[0], known[1].copy()
        attributes[n.MESSAGING_MESSAGE_ID] = identity
        attributes[n.TASK_ATTEMPT] = attempt
        for key, value in (
            (n.TASK_RETRIES_LEFT, None if retries is None else number(retries)),
            (n.TASK_PRIORITY, priority),
            (n.TASK_ETA, execute_time),
            (n.TASK_WAIT, wait),
            (n.TASK_OUTCOME, outcome),
            (n.WORKER_NAME, worker),
            (n.CHORD_SIZE, chord_size),
        ):
            if value is not None:
                attributes[key] = value
        return name, attributes

    def batch(self, kind: str, count: int) -> tuple[str, dict[str, Any]]:
        """The name and the attributes of the span about a group or chord."""
        name = self.named(encodable.name(kind))
        return name, self.attributes | {n.MESSAGING_BATCH_COUNT: count}


Failure = tuple[str, str | None, str | None]
"""The class, the message and the traceback of an exception."""


def conclude(
    span: Span, outcome: str | None, failure: Failure | None, at: int | None
) -> None:
    """Set on *span* how its operation went, with the exception of a *failure*."""
    conclude_without_exception(span, outcome, failure, at)
    if failure is None:
        return
    name, message, text = failure
    attributes = {n.EXCEPTION_TYPE: name}
    if message is not None:
        attributes[n.EXCEPTION_MESSAGE] = message
    if text is not None:
        attributes[n.EXCEPTION_STACKTRACE] = text
    span.add_event(n.EXCEPTION, attributes, at)


def conclude_without_exception(
    span: Span, outcome: str | None, failure: Failure | None, _at: int | None
) -> None:
    """Set on *span* how its operation went; what was raised is in a log record."""
    if outcome is not None:
        span.set_attribute(n.TASK_OUTCOME, outcome)
    if failure is not None:
        name, message, _ = failure
        span.set_attribute(n.ERROR_TYPE, name)
        span.set_status(Status(StatusCode.ERROR, message))


def message_of(error: BaseException | None) -> str | None:
    """What *error* says, at most 1,024 characters; None for none."""
    return None if error is None else failures.message(error)[:_LONGEST_DESCRIPTION]
