"""The outputs of one huey: where its records, its spans and its events go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from huey.api import Huey
from huey.storage import RedisStorage

from huey_otel._options.settings import Settings
from huey_otel._otel import meters
from huey_otel._otel.lost_spans import LostSpans
from huey_otel._otel.provider import LazyTracer, ResolvedProvider
from huey_otel._otel.semconv import SemconvMetrics
from huey_otel._prometheus.registry import RegistryMetrics
from huey_otel._redis.publisher import Publisher
from huey_otel._relay.relay import Relay, Route
from huey_otel._safety import encodable
from huey_otel._safety.forks import in_child
from huey_otel._storage import emitter as _emitter
from huey_otel._storage.connections import free_in_child
from huey_otel._storage.emitter import RedisEventEmitter, channel_of
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
        self._lost_spans = LostSpans(self.tracer.resolved, settings.span_naming)
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
        """Import what the first span and record need, with the application."""
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
        self.tracer.resolved()

    def follow(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Publish where `Destinations.of` says for *storage* from now on."""
        # Earlier records go to the earlier publisher.
        self._relay.flush(self._settings.flush_timeout)
        published = self.destinations.choose(storage)
        self.renew()
        return published

    def renew(self) -> None:
        """Choose the sinks of records again."""
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
    def diverted(self, provider: ResolvedProvider, sink: Sink) -> Iterator[None]:
        """Send spans to *provider* and records to *sink*, and nowhere else."""
        before = self._divert(provider, sink)
        try:
            yield
        finally:
            self._divert(*before)

    def _divert(
        self, provider: ResolvedProvider | None, sink: Sink | None
    ) -> tuple[ResolvedProvider | None, Sink | None]:
        # Earlier records go to the earlier sinks.
        self._relay.flush(self._settings.flush_timeout)
        before = self.tracer.use(provider), self._diversion
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


class Destinations:
    """The publishers of one huey, and the `current` one, None for no events.

    A publisher stays when its storage goes, and delivers what it has: toggling
    `huey.immediate` makes a new storage each time.
    """

    def __init__(self, queue: str, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings
        self._publishers: dict[tuple[str, str], Publisher] = {}
        self._out_of_reach = False
        self.current: Publisher | None = None

    def of(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Where events go while *storage* is the queue's, and on which channel."""
        own = _emitter.of_storage(storage)
        self._out_of_reach = own is None and isinstance(storage, RedisStorage)
        emitter = own
        if not isinstance(self._settings.events, bool):
            emitter = self._settings.events
        elif self._settings.events is False:
            emitter = None
        given = self._settings.channel or (emitter.channel if emitter else None)
        return emitter, channel_of(self._queue, storage, given)

    def choose(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Publish where `of` says for *storage* from now on, and return that."""
        self.current = None
        emitter, channel = self.of(storage)
        if emitter is not None:
            known = (emitter.address, channel)
            if known not in self._publishers:
                self._publishers[known] = Publisher(emitter, channel)
            self.current = self._publishers[known]
        return emitter, channel

    def __iter__(self) -> Iterator[Publisher]:
        return iter(list(self._publishers.values()))

    def close(self) -> None:
        """End all publishers; what they have not delivered by now is lost."""
        for publisher in self:
            publisher.close(0.0)

    def __str__(self) -> str:
        if self.current is not None:
            return f"on channel {self.current.channel!r} of {self.current.server}"
        if self._settings.events is False:
            return "off, events=None"
        if self._out_of_reach:
            return (
                "off, how the queue reaches its Redis cannot be taken over:"
                " pass events=RedisEventEmitter(url=...)"
            )
        return "off, the queue has no Redis; events= or HUEY_OTEL_EVENTS names one"
