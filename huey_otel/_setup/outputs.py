"""The outputs of one huey: where its spans and its records go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from huey.api import Huey
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from huey_otel._hooks import serializer as serializers
from huey_otel._hooks import storage as storages
from huey_otel._options.settings import Settings
from huey_otel._otel import meters, provider
from huey_otel._otel.lost_spans import LostSpans
from huey_otel._otel.provider import Provided
from huey_otel._otel.semconv import SemconvMetrics
from huey_otel._prometheus.registry import RegistryMetrics
from huey_otel._safety import encodable
from huey_otel._safety.forks import in_child
from huey_otel._setup.destinations import Destinations
from huey_otel._setup.process import Shared
from huey_otel._storage.emitter import RedisEventEmitter
from huey_otel._wire.record import Sink


class Outputs:
    """The tracer, the sinks and the feeds of *huey*, source *number* of *shared*.

    They follow a storage and a serializer that it is given later.
    """

    def __init__(
        self,
        huey: Huey,
        number: int,
        shared: Shared,
        settings: Settings,
        exposition: RegistryMetrics,
        *,
        emitter: RedisEventEmitter | None,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
    ) -> None:
        self._huey = huey
        self._number = number
        self._shared = shared
        self._settings = settings
        self._exposition = exposition
        self._given_provider = tracer_provider
        self._given_meters = meter_provider
        self._resolved: Provided | None = None
        self._prepared = False
        self._diversion: Sink | None = None
        in_child(self._after_fork)
        self.destinations = Destinations(huey.name, settings, emitter)
        self._lost_spans = LostSpans(self.provided, settings.span_naming)
        self._semconv = (
            SemconvMetrics(
                lambda: meters.resolve(
                    meter_provider,
                    settings.metrics_export,
                    encodable.name(huey.name),
                    exposition.reader,
                )
            )
            if settings.semconv_metrics
            else None
        )
        self._serializer: Any = None

    def offer_events(self) -> None:
        """Let the storage be listened to, and do nothing else."""
        storage = self._huey.storage
        storages.observe(storage, *self.destinations.of(storage))

    def attach(self) -> None:
        """Observe the storage and the serializer that huey has now.

        What the first span needs is imported here, while the application is.
        """
        provider.load(self._given_provider, self._settings.export)
        self._exposition.producer.load()
        if self._settings.semconv_metrics:
            meters.load(
                self._given_meters,
                self._settings.metrics_export,
                self._exposition.load_reader,
            )
        self.storage_is(self._huey.storage)
        self._look_again()

    def release(self) -> None:
        """Put back their own classes."""
        serializers.release(self._serializer)
        storages.release(self._huey.storage)

    def prepare(self) -> None:
        """A consumer starts: have its exporters made before it says where spans go."""
        if self._diversion is None:
            self._resolved = provider.resolve(
                self._given_provider,
                self._settings.export,
                encodable.name(self._huey.name),
                at_once=True,
            )
        self.provided()

    def provided(self) -> Provided:
        """The tracer, found when it is first needed."""
        resolved = self._resolved
        if resolved is None:
            self._look_again()
            resolved = self._resolved = provider.resolve(
                self._given_provider,
                self._settings.export,
                encodable.name(self._huey.name),
            )
        if not self._prepared:
            resolved.prepare()
            self._prepared = True
        return resolved

    def __str__(self) -> str:
        resolved = self._resolved
        return f"spans {'not asked for yet' if resolved is None else resolved.where}"

    def _look_again(self) -> None:
        """Follow a serializer and a storage that huey was given since."""
        huey = self._huey
        if huey.serializer is not self._serializer:
            serializers.release(self._serializer)
            self._serializer = huey.serializer
            serializers.observe(self._serializer)
        if not storages.observed(huey.storage):
            self.storage_is(huey.storage)

    def _after_fork(self) -> None:
        self._prepared = False
        storages.renew(self._huey.storage)

    def storage_is(self, storage: Any) -> None:
        """Publish where *storage* is, unless we were told where to."""
        emitter, channel = self.destinations.of(storage)
        storages.observe(storage, emitter, channel)
        # What has happened until now belongs to the feed until now.
        self._shared.relay.flush(self._settings.flush_timeout)
        self.destinations.choose(emitter, channel)
        self.renew()

    def renew(self) -> None:
        """Send records to whoever takes them now."""
        if self._shared.consuming:
            # Its tasks may enqueue here, whether or not our own consumer runs as well.
            self._exposition.begin()
        route = self._shared.routes.get(self._number)
        if route is not None:
            if self._diversion is not None:
                route.sinks = [self._diversion]
                return
            sinks = (
                self._exposition.collector,
                self._lost_spans,
                self._semconv,
                self.destinations.current,
            )
            route.sinks = [sink for sink in sinks if sink is not None]

    @contextmanager
    def diverted(self, provided: Provided, sink: Sink) -> Iterator[None]:
        """Send spans to *provided* and records to *sink*, and nowhere else."""
        self._look_again()
        before = self._resolved, self._diversion
        self._divert(provided, sink)
        try:
            yield
        finally:
            self._divert(*before)

    def _divert(self, provided: Provided | None, sink: Sink | None) -> None:
        # What has happened until now goes where it went until now.
        self._shared.relay.flush(self._settings.flush_timeout)
        self._resolved, self._diversion = provided, sink
        self.renew()

    def flush(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until all is delivered; True if it is."""
        deadline = time.monotonic() + timeout
        # First what may still become a span, then spans and events side by side.
        handled = self._shared.relay.flush(timeout)
        exported = None if self._resolved is None else self._resolved.flush()
        measured = None
        if not self._shared.relay.forked:
            measured = None if self._semconv is None else self._semconv.flush()
            for feed in self.destinations:
                left = max(0.0, deadline - time.monotonic())
                handled = feed.flush(left) and handled
        for done in (exported, measured):
            if done is not None:
                left = max(0.0, deadline - time.monotonic())
                handled = done.wait(left) and handled
        return handled

    def give_up(self) -> None:
        """Wait for spans no longer."""
        if self._resolved is not None:
            self._resolved.give_up()
