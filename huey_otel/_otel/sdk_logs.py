"""The SDK's logger provider, built from the environment, and its exporters."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

from huey_otel import _names as n
from huey_otel._options.export import Export, group_of
from huey_otel._options.otel_variables import GRPC, HTTP, LOGS, replaced
from huey_otel._otel import resource
from huey_otel._otel.batches import log_batches
from huey_otel._otel.entry_points import load_entry_point
from huey_otel._otel.late_exporter import LateExporter
from huey_otel._otel.logger_provider import Outcome, Settle
from huey_otel._otel.made_exporters import maker_of, not_made
from huey_otel._safety.log import described, warn_once
from huey_otel._safety.timeout import or_else
from huey_otel._safety.version import version

_GROUP: Final = group_of(LOGS)


class _Kept:
    """Keeps log records as the SDK hands them to an exporter, in any of its versions.

    A batch processor of the SDK would start a thread in every fork, and drop without
    a count what is past its queue (opentelemetry-sdk 1.45).
    """

    def __init__(self) -> None:
        self.records: list[Any] = []

    def export(self, batch: Sequence[Any]) -> None:
        """Keep *batch*."""
        self.records += batch

    def shutdown(self) -> None:
        """Nothing is to be shut down."""

    def take(self) -> list[Any]:
        """What was kept since the last time."""
        taken, self.records = self.records, []
        return taken


class BuiltLogs:
    """The provider that *export* asks for; `service.name` is *queue* by default.

    `names` are the exporters that work, `problems` says to people why others do not.
    Only one thread may deliver.
    """

    def __init__(self, export: Export, queue: str) -> None:
        self.problems: list[str] = []
        self.resource = resource.resource_of(export, queue)
        self._export = export
        self._exporters: dict[str, LateExporter] = {}
        self._kept = _Kept()
        unread = export.unread()
        self.problems += unread.values()
        instead = {**export.instead, **dict.fromkeys(unread)}
        with replaced(instead):
            for name in export.exporters:
                if unread and export.tls and name in (GRPC, HTTP):
                    continue
                make = partial(self._maker, name, instead)
                made = or_else(make, partial(not_made, name))
                if isinstance(made, str):
                    self.problems.append(made)
                else:
                    self._exporters[name] = LateExporter(made, self.resource)
            provider = LoggerProvider(resource=self.resource, shutdown_on_exit=False)
        kept: Any = self._kept
        provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
        self.names = [*self._exporters]
        self.where = f"as log records {export.over(self.names)}"
        self._logger = provider.get_logger(n.DISTRIBUTION, version())

    def _maker(
        self, name: str, instead: dict[str, str | None]
    ) -> Callable[[], Any] | str:
        return maker_of(name, load_entry_point(_GROUP, name), self._export, instead)

    def start(self) -> None:
        """Make the exporters now; one that cannot be made is tried with each batch."""
        for name, exporter in self._exporters.items():
            made = or_else(exporter.start, partial(not_made, name))
            if isinstance(made, str):
                warn_once([f"events are not delivered as log records: {made}"])

    def deliver(self, records: Sequence[LogRecord], settle: Settle) -> None:
        """Export *records* in requests that are not too large for a collector."""
        for batch in log_batches(records):
            self._kept.take()
            raised = ""
            for record in batch:
                raised = (
                    or_else(partial(self._logger.emit, record), described) or raised
                )
            kept = self._kept.take()
            outcomes = (
                _exported(exporter, kept) for exporter in self._exporters.values()
            )
            # Each event is lost once, if several exporters lose it.
            settle(max(outcomes, key=lambda outcome: outcome.lost))
            if len(kept) < len(batch):
                why = f"the SDK has not taken them: {raised or 'no reason given'}"
                settle(Outcome(lost=len(batch) - len(kept), why=why))

    def flush(self) -> threading.Event | None:
        """Nothing waits here: `deliver` exports."""
        return None


def _exported(exporter: LateExporter, kept: Sequence[Any]) -> Outcome:
    """Export *kept* with *exporter*."""
    exported, answer = exporter.tried(kept)
    if not exported:
        why = f"they could not be delivered: {answer.reason or 'no reason given'}"
        return Outcome(lost=len(kept), why=why)
    lost = min(answer.rejected, len(kept))
    why = ""
    if lost or answer.message:
        what = "rejects some" if lost else "warns of some that it took"
        why = f"the collector {what}: {answer.message or 'no reason given'}"
    return Outcome(len(kept) - lost, lost, n.LOSS_LOGS_REJECTED, why)
