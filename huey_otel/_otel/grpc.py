"""gRPC: what it has to know of greenlets, and forks of it."""

import os
import threading
from collections.abc import Sequence
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from huey_otel._safety import greenlets
from huey_otel._safety.forks import in_child

_PATIENCE: Final = 0.2
"""Seconds that a fork waits for a call; one that is answered takes less."""


def load() -> None:
    """Import what gRPC itself imports with its first channel."""
    from grpc import _channel, experimental  # noqa: F401


def wait_in_greenlets() -> None:
    """Let gRPC wait as gevent does, where that has patched.

    Else one collector that does not answer stops all greenlets (grpcio 1.85).
    """
    if greenlets.patched():
        from grpc.experimental import gevent

        gevent.init_gevent()


class BetweenForks(SpanExporter):
    """Lets no fork happen while *exporter* calls, unless that takes long.

    A child that is forked meanwhile cannot call, or gRPC aborts it (grpcio 1.85
    skips its own handlers of forks then).
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._renew()
        in_child(self._renew)
        os.register_at_fork(before=self._before, after_in_parent=self._after)

    def _renew(self) -> None:
        self._calling = threading.Lock()
        self._held: dict[int, bool] = {}

    def _before(self) -> None:
        held = self._calling.acquire(timeout=_PATIENCE)
        self._held[threading.get_ident()] = held

    def _after(self) -> None:
        if self._held.pop(threading.get_ident(), False):
            self._calling.release()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand *spans* on."""
        with self._calling:
            return self._exporter.export(spans)

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Make the exporter deliver what it keeps, if it does that."""
        return self._exporter.force_flush(timeout_millis)
