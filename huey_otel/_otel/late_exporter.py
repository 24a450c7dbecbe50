"""An exporter that is made late, and that hears what the collector answers."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import Resource

from huey_otel._otel.answers import ANSWERS, Answer
from huey_otel._otel.repair import strict_encoding
from huey_otel._safety.forks import COLLECTING
from huey_otel._safety.timeout import or_else

_SUCCESS: Final = "SUCCESS"
"""What each signal calls it in a type of its own."""


class LateExporter:
    """Exports with what *make* returns, of which the resource is *resource*.

    The thread that exports first calls *make*, so no request waits for it. A fork
    does; a child of a process that has no exporter yet makes its own.
    """

    def __init__(self, make: Callable[[], Any], resource: Resource) -> None:
        self._make = make
        self._resource = resource
        self._exporter: Any = None

    def start(self) -> Any:
        """Make the exporter, unless it is made already."""
        exporter = self._exporter
        if exporter is None:
            # Found before the lock is taken: a detector may ask the network, and no
            # fork must wait for that. A fork that waited for the lock goes on when the
            # exporter is made; if a detector ran then, the child would inherit the
            # SDK's lock of `service.instance.id` taken (opentelemetry-sdk 1.45).
            _ = self._resource.attributes
            with COLLECTING:
                exporter = self._exporter
                if exporter is None:
                    exporter = self._exporter = self._make()
        return exporter

    def tried(self, batch: Sequence[Any]) -> tuple[bool, Answer]:
        """Export *batch* once; whether that succeeded, and what was heard."""
        answer = ANSWERS.begin()
        try:
            with strict_encoding():
                result = or_else(lambda: self.start().export(batch), ANSWERS.raised)
        finally:
            ANSWERS.end(answer)
        exported = getattr(result, "name", "") == _SUCCESS and not answer.misled
        return exported, answer

    def shutdown(self) -> None:
        """Shut the exporter down, if it was made."""
        if self._exporter is not None:
            self._exporter.shutdown()
