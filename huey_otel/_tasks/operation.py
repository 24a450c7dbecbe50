"""Operations: what spans of one kind say of a task before they know which run it is."""

from typing import Any, Final

from huey_otel import _names as n
from huey_otel._safety.forks import in_child
from huey_otel._wire.client import CLIENT

_MOST_TASKS: Final = 10_000


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
        return self._of.get(task) or self._make(task)

    def _make(self, task: str) -> tuple[str, dict[str, Any]]:
        if len(self._of) >= _MOST_TASKS:
            # Tasks that are declared and unregistered for ever.
            self._of.clear()
        made = self.named(task), {**self.attributes, n.TASK_NAME: task}
        self._of[task] = made
        return made
