"""The outputs of one huey: where its records and its spans go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from huey.api import Huey

from huey_otel._options.settings import Settings
from huey_otel._otel import meters
from huey_otel._otel.lost_spans import LostSpans
from huey_otel._otel.provider import Provided
from huey_otel._otel.semconv import SemconvMetrics
from huey_otel._otel.tracer import LazyTracer
from huey_otel._process.destinations import Destinations
from huey_otel._prometheus.registry import RegistryMetrics
from huey_otel._relay.relay import Relay
from huey_otel._relay.routes import Route
from huey_otel._safety import encodable
from huey_otel._safety.forks import in_child
from huey_otel._storage.connections import free_in_child
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import Sink, Source


class Outputs:
    """The tracer, the sinks and the publishers of *huey*."""

    def __init__(
        self, huey: Huey, settings: Settings, relay: Relay, exposition: RegistryMetrics
    ) -> None:
        queue = encodable.name(huey.name)
        self._huey = huey
        self._settings = settings
        self._relay = relay
        self.exposition = exposition
        self.destinations = Destinations(huey.name, settings)
        self.tracer = LazyTracer(settings.tracer_provider, settings.export, queue)
        self.route = Route(Source(queue=queue, host=CLIENT.host), ())
        self._lost_spans = LostSpans(self.tracer.provided, settings.span_naming)
        self._semconv: SemconvMetrics | None = None
        if settings.semconv_metrics:
            find_meters = partial(
                meters.resolve,
                settings.meter_provider,
                settings.metrics_export,
                queue,
                exposition.reader,
            )
            self._semconv = SemconvMetrics(find_meters)
        self._diversion: Sink | None = None
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        free_in_child(self._huey.storage)

    def load(self) -> None:
        """Import what the first span and record need, while the application is."""
        self.tracer.load()
        self.exposition.producer.load()
        if self._semconv is not None:
            meters.load(
                self._settings.meter_provider,
                self._settings.metrics_export,
                self.exposition.load_reader,
            )

    def prepare(self) -> None:
        """A consumer starts: make exporters before workers are forked."""
        if self._diversion is None:
            self.tracer.make()
        self.tracer.provided()

    def follow(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Publish where *storage* is from now on, unless `events=` says where.

        Returns that Redis, if there is one, and the channel.
        """
        # Earlier records go to the publisher before.
        self._relay.flush(self._settings.flush_timeout)
        published = self.destinations.choose(storage)
        self.renew()
        return published

    def renew(self) -> None:
        """Send records to the sinks that there are now."""
        sinks: list[Sink | None] = [self._diversion]
        if self._diversion is None:
            sinks = [
                self.exposition.collector,
                self._lost_spans,
                self._semconv,
                self.destinations.current,
            ]
        self.route.sinks = [sink for sink in sinks if sink is not None]

    @contextmanager
    def diverted(self, provided: Provided, sink: Sink) -> Iterator[None]:
        """Send spans to *provided* and records to *sink*, and nowhere else."""
        before = self._divert(provided, sink)
        try:
            yield
        finally:
            self._divert(*before)

    def _divert(
        self, provided: Provided | None, sink: Sink | None
    ) -> tuple[Provided | None, Sink | None]:
        # Earlier records go where they went before.
        self._relay.flush(self._settings.flush_timeout)
        before = self.tracer.use(provided), self._diversion
        self._diversion = sink
        self.renew()
        return before

    def flush(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until all is delivered; True if it is."""
        deadline = time.monotonic() + timeout
        # Records first, which may become spans; then spans and events side by side.
        handled = self._relay.flush(timeout)
        waited_for = [self.tracer.flush()]
        if not self._relay.forked:
            if self._semconv is not None:
                waited_for.append(self._semconv.flush())
            for publisher in self.destinations:
                left = max(0.0, deadline - time.monotonic())
                handled = publisher.flush(left) and handled
        for done in waited_for:
            if done is not None:
                left = max(0.0, deadline - time.monotonic())
                handled = done.wait(left) and handled
        return handled
