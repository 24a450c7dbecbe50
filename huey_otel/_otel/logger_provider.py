"""The logger provider: the application's, or one built as the environment says."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from opentelemetry import _logs as logs
from opentelemetry._logs import LoggerProvider, LogRecord, NoOpLogger
from opentelemetry._logs._internal import ProxyLoggerProvider

from huey_otel import _names as n
from huey_otel._options.export import Export, group_of
from huey_otel._options.otel_variables import LOGS, replaced
from huey_otel._otel.flusher import FLUSHER
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.forks import in_child
from huey_otel._safety.log import warn_once
from huey_otel._safety.timeout import or_else
from huey_otel._safety.version import version

_GROUP: Final = group_of(LOGS)
_DISABLED: Final = "OTEL_SDK_DISABLED is set"
_NOT_YET: Final = "as log records, not asked for yet"


class Outcome(NamedTuple):
    """What became of some log records; *why* is for people, *reason* for the count."""

    arrived: int = 0
    lost: int = 0
    reason: str = n.LOSS_LOGS
    why: str = ""


Settle = Callable[[Outcome], None]
"""Told of each part of what is delivered what became of it."""


class LogsDestination(Protocol):
    """Where log records go; `where` tells people."""

    where: str

    def deliver(self, records: Sequence[LogRecord], settle: Settle, /) -> None:
        """Send *records* there, and say of each whether it arrived or was lost."""
        ...

    def flush(self) -> threading.Event | None:
        """Begin to export what waits there; the event is set when it is out."""
        ...


class NoLogs:
    """Log records go nowhere, *why* says to people; none counts as lost."""

    def __init__(self, why: str) -> None:
        self.where = f"as log records: off, {why}"

    def deliver(self, records: Sequence[LogRecord], settle: Settle) -> None:
        """Forget *records*."""
        settle(Outcome(arrived=len(records)))

    def flush(self) -> threading.Event | None:
        """Nothing waits."""
        return None


class GivenLogs:
    """The logger provider of the application; what its processors lose is theirs."""

    def __init__(self, provider: LoggerProvider, what: str) -> None:
        self.where = f"as log records to {what}"
        self._provider = provider
        self.logger = provider.get_logger(n.DISTRIBUTION, version())

    def deliver(self, records: Sequence[LogRecord], settle: Settle) -> None:
        """Emit *records*; one that the provider raises for is lost."""
        FLUSHER.prepare()
        raised = [
            why
            for record in records
            for why in [or_else(partial(self.logger.emit, record), _why)]
            if why is not None
        ]
        why = f"the application's logger provider raised {raised[0]}" if raised else ""
        lost = len(raised)
        settle(Outcome(len(records) - lost, lost, n.LOSS_LOGS, why))

    def flush(self) -> threading.Event | None:
        """Let the provider export what it has, as far as it can be told to."""
        return FLUSHER.flush(self._provider)


def _why(error: Exception) -> str:
    return f"{class_name(error)}: {message(error)}"


class LazyLogs:
    """Finds the provider late, so an application may set its own after `instrument`.

    That is the one *given*, the global one, or one from the environment, which is
    only for events: the application's own log records do not pass through it.
    """

    def __init__(
        self, given: LoggerProvider | None, export: Export, queue: str
    ) -> None:
        self._given = given
        self._export = export
        self._queue = queue
        self._found: LogsDestination | None = None
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self._finding = threading.Lock()

    def load(self) -> None:
        """Import what the first log record needs.

        What cannot be imported is logged when it is needed.
        """

        def load_sdk() -> None:
            with replaced(self._export.instead):
                from huey_otel._otel import made_exporters, sdk_logs  # noqa: F401

                made_exporters.load(self._export, _GROUP)

        version()
        if self._given is None and self._export.exporters:
            or_else(load_sdk, lambda _: None)

    def make(self) -> None:
        """Find it, and make its exporters now: a consumer is about to fork workers."""
        start = getattr(self.resolved(), "start", None)
        if start is not None:
            start()

    def resolved(self) -> LogsDestination:
        """Where log records go, found now if it was not yet."""
        if self._found is None:
            with self._finding:
                if self._found is None:
                    self._found = self._resolve()
        return self._found

    def flush(self) -> threading.Event | None:
        """Begin to export what waits in the provider, once it is found."""
        return None if self._found is None else self._found.flush()

    def __str__(self) -> str:
        return _NOT_YET if self._found is None else self._found.where

    def _resolve(self) -> LogsDestination:
        if self._given is not None:
            return GivenLogs(self._given, "the logger_provider= given")
        with replaced(self._export.instead):
            current = logs.get_logger_provider()
        if not isinstance(current, ProxyLoggerProvider):
            found = GivenLogs(current, "the application's logger provider")
            # The SDK's provider is off then; another vendor's may not care.
            if self._export.disabled and isinstance(found.logger, NoOpLogger):
                return NoLogs(_DISABLED)
            if _exports_nothing(current):
                found.where += ", which exports nothing so far"
                warn_once([f"events go {found.where}"])
            return found
        if self._export.disabled:
            return NoLogs(_DISABLED)
        warn_once(self._export.ignored, then="; ignored")
        if not self._export.exporters:
            return NoLogs(self._export.why_none)
        return or_else(self._build, lambda error: _off(_why(error)))

    def _build(self) -> LogsDestination:
        from huey_otel._otel.sdk_logs import BuiltLogs

        built = BuiltLogs(self._export, self._queue)
        if not built.names:
            return _off(*built.problems)
        warn_once(built.problems)
        return built


def _exports_nothing(provider: LoggerProvider) -> bool:
    """Whether *provider* is the SDK's, and has no processor.

    With OTEL_LOGS_EXPORTER=none `opentelemetry-instrument` sets such a one.
    """
    multi = getattr(provider, "_multi_log_record_processor", None)
    return getattr(multi, "_log_record_processors", None) == ()


def _off(*problems: str) -> NoLogs:
    warn_once(f"events as log records are off: {problem}" for problem in problems)
    return NoLogs(problems[0])
