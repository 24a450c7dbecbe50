"""The meter provider: the argument, one built from the environment, or the global."""

import os
import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import MeterProvider

from huey_otel._export import Export, group_of
from huey_otel._flusher import FLUSHER
from huey_otel._forks import in_child
from huey_otel._guard import guarded

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader

METRICS: Final = "metrics"


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


def resolve(given: MeterProvider | None, export: Export, queue: str) -> MeterProvider:
    """Find it; called in a process that handles records, so in no worker.

    Not the application's if the environment names an exporter: a worker that is
    forked late inherits what was counted, and the SDK would export that again.
    """
    if given is not None:
        return given
    if export.disabled or not export.exporters:
        return metrics.get_meter_provider()
    with _BUILT.lock:
        if _BUILT.provider is None:
            _BUILT.provider = _build(export, queue)
        return _BUILT.provider or metrics.get_meter_provider()


@guarded
def _build(export: Export, queue: str) -> MeterProvider:
    # The SDK and its exporters take a while to import.
    from opentelemetry.sdk import metrics as sdk
    from opentelemetry.sdk.resources import Resource

    from huey_otel._repair import sayable

    FLUSHER.prepare()
    return sdk.MeterProvider(
        [_reader(name) for name in export.exporters],
        resource=sayable(Resource.create(export.resource(queue))),
        shutdown_on_exit=False,
    )


def _reader(name: str) -> "MetricReader":
    from opentelemetry.sdk.metrics.export import (
        MetricExportResult,
        MetricReader,
        PeriodicExportingMetricReader,
    )

    point = next(iter(entry_points(group=group_of(METRICS), name=name)))
    made: Any = point.load()()
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
