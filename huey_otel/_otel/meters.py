"""The meter provider: the argument, one built from the environment, or the global."""

import os
import threading
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider

from huey_otel._options.otel import Export, group_of
from huey_otel._options.standard import GRPC, HTTP, METRICS, replaced
from huey_otel._otel.flusher import FLUSHER
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.forks import in_child
from huey_otel._safety.log import warn_once
from huey_otel._safety.timeout import or_else

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader

_PROMETHEUS: Final = "prometheus"
_OFF: Final = "metrics of the semantic conventions are off: no exporter can be made"


class _Built:
    """The one that we built for this process, if we did."""

    def __init__(self) -> None:
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        # The parent's exports nothing here.
        self.provider: MeterProvider | None = None
        self.lock = threading.Lock()


_BUILT: Final = _Built()


def load(
    given: MeterProvider | None, export: Export, load_page: Callable[[], None]
) -> None:
    """Import what the first record needs, if the environment asks for metrics.

    *load_page* imports what Prometheus' reader needs.
    """
    if given is None and export.exporters:
        or_else(lambda: _load(export, load_page), lambda _: None)


def _load(export: Export, load_page: Callable[[], None]) -> None:
    with replaced(export.instead):
        from huey_otel._otel import resource as _resource

        for name in export.exporters:
            if name == _PROMETHEUS:
                load_page()
            else:
                _named(name)
        _resource.load(export.detectors)


def resolve(
    given: MeterProvider | None,
    export: Export,
    queue: str,
    on_page: "Callable[[], MetricReader]",
) -> MeterProvider:
    """Find it; called in a process that handles records, so in no worker.

    Not the application's if the environment names an exporter: a worker that is
    forked late inherits what was counted, and the SDK would export that again.
    *on_page* makes the reader of what Prometheus is to see.
    """
    if given is not None:
        return given
    with _BUILT.lock:
        if _BUILT.provider is None and not export.disabled:
            warn_once(export.ignored, then="; ignored")
            if export.exporters:
                _BUILT.provider = _build(export, queue, on_page)
        with replaced(export.instead):
            return _BUILT.provider or metrics.get_meter_provider()


def _build(
    export: Export, queue: str, on_page: "Callable[[], MetricReader]"
) -> MeterProvider | None:
    unread = {} if {GRPC, HTTP}.isdisjoint(export.exporters) else export.unread()
    warn_once(unread.values())
    readers = []
    with replaced({**export.instead, **dict.fromkeys(unread)}):
        for name in export.exporters:
            if unread and export.tls and name in (GRPC, HTTP):
                continue
            make = partial(_reader, name, export.asked(name))
            reader = or_else(on_page if name == _PROMETHEUS else make, _not_made(name))
            if reader is not None:
                readers.append(reader)
        if not readers:
            warn_once([_OFF])
            return None
        return _provider_of(readers, export, queue)


def _provider_of(
    readers: "list[MetricReader]", export: Export, queue: str
) -> MeterProvider:
    # The SDK takes a while to import.
    from opentelemetry.sdk import metrics as sdk

    from huey_otel._otel.resource import resource_of

    FLUSHER.prepare()
    return sdk.MeterProvider(
        readers, resource=resource_of(export, queue), shutdown_on_exit=False
    )


def _not_made(name: str) -> "Callable[[Exception], MetricReader | None]":
    def failed(error: Exception) -> None:
        why = f"{class_name(error)}: {message(error)}"
        warn_once([f"the exporter {name} of metrics cannot be made: {why}"])

    return failed


@cache
def _named(name: str) -> Callable[..., Any]:
    """Load what makes the exporter *name*, or a reader."""
    point = next(iter(entry_points(group=group_of(METRICS), name=name)))
    loaded: Callable[..., Any] = point.load()
    return loaded


def _reader(name: str, asked: dict[str, Any]) -> "MetricReader":
    from opentelemetry.sdk.metrics.export import (
        MetricExportResult,
        MetricReader,
        PeriodicExportingMetricReader,
    )

    made: Any = _named(name)(**asked)
    if isinstance(made, MetricReader):
        return made
    here, export = os.getpid(), made.export

    def in_this_process(*args: Any, **kwargs: Any) -> MetricExportResult:
        # The SDK starts the reader's thread again in every child.
        if os.getpid() != here:
            return MetricExportResult.SUCCESS
        done: Callable[..., MetricExportResult] = export
        return done(*args, **kwargs)

    made.export = in_this_process
    return PeriodicExportingMetricReader(made)
