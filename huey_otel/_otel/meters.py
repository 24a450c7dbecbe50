"""The meter provider: the argument, one built from the environment, or the global."""

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider

from huey_otel._options.export import Export, group_of
from huey_otel._options.otel_variables import GRPC, HTTP, METRICS, replaced
from huey_otel._otel.entry_points import load_entry_point
from huey_otel._otel.flusher import FLUSHER
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.forks import in_child
from huey_otel._safety.log import warn_once
from huey_otel._safety.timeout import or_else

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader

_PROMETHEUS: Final = "prometheus"
_OFF: Final = "metrics of the semantic conventions are off: no exporter can be made"


class _BuiltOnce:
    """The one provider that we built for this process, if we did."""

    def __init__(self) -> None:
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        # The parent's exports nothing here.
        self.provider: MeterProvider | None = None
        self.lock = threading.Lock()


_BUILT: Final = _BuiltOnce()


def load(
    given: MeterProvider | None, export: Export, load_page: Callable[[], None]
) -> None:
    """Import what the first record needs, if the environment asks for metrics.

    *load_page* imports what the reader of the Prometheus page needs.
    """

    def load_sdk() -> None:
        with replaced(export.instead):
            from huey_otel._otel import resource

            for name in export.exporters:
                if name == _PROMETHEUS:
                    load_page()
                else:
                    load_entry_point(group_of(METRICS), name)
            resource.load(export.detectors)

    if given is None and export.exporters:
        or_else(load_sdk, lambda _: None)


def resolve(
    given: MeterProvider | None,
    export: Export,
    queue: str,
    on_page: "Callable[[], MetricReader]",
) -> MeterProvider:
    """Find the provider, in the process that handles records, never in a worker.

    The application's is not used if the environment names an exporter: a worker
    that is forked late inherits the counts, and the SDK would export them again.
    *on_page* makes the reader of the Prometheus page.
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
    unread = export.unread()
    warn_once(unread.values())
    readers = []
    with replaced({**export.instead, **dict.fromkeys(unread)}):
        for name in export.exporters:
            if unread and export.tls and name in (GRPC, HTTP):
                continue
            on_push = partial(_reader, name, export.asked(name))
            make = on_page if name == _PROMETHEUS else on_push
            reader = or_else(make, partial(_not_made, name))
            if reader is not None:
                readers.append(reader)
        if not readers:
            warn_once([_OFF])
            return None
        # The SDK takes a while to import.
        from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

        from huey_otel._otel.resource import resource_of

        FLUSHER.prepare()
        resource = resource_of(export, queue)
        return SdkMeterProvider(readers, resource=resource, shutdown_on_exit=False)


def _not_made(name: str, error: Exception) -> None:
    why = f"{class_name(error)}: {message(error)}"
    warn_once([f"the exporter {name} of metrics cannot be made: {why}"])


def _reader(name: str, asked: dict[str, Any]) -> "MetricReader":
    from opentelemetry.sdk.metrics.export import (
        MetricExportResult,
        MetricReader,
        PeriodicExportingMetricReader,
    )

    made: Any = load_entry_point(group_of(METRICS), name)(**asked)
    if isinstance(made, MetricReader):
        return made
    here, export = os.getpid(), made.export

    def export_here(*args: Any, **kwargs: Any) -> MetricExportResult:
        # The SDK starts the reader's thread again in every child.
        if os.getpid() != here:
            return MetricExportResult.SUCCESS
        result: MetricExportResult = export(*args, **kwargs)
        return result

    made.export = export_here
    return PeriodicExportingMetricReader(made)
