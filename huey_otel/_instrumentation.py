"""The Instrumentation: the parts of one instrumented huey, begun and ended."""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from huey.api import Huey
from huey.constants import WORKER_PROCESS
from huey.consumer import Consumer
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from huey_otel import _meters, _process, _provider, _start_line
from huey_otel._consumers import RunningConsumer
from huey_otel._contents import Meaning
from huey_otel._destinations import Destinations
from huey_otel._emitter import RedisEventEmitter
from huey_otel._exposition import Exposition
from huey_otel._forks import in_child
from huey_otel._losses import LOSSES
from huey_otel._lost_spans import LostSpans
from huey_otel._provider import Provided
from huey_otel._records import Sink, Source
from huey_otel._routes import Route
from huey_otel._semconv import SemconvMetrics
from huey_otel._settings import Settings
from huey_otel._values import checked_seconds
from huey_otel.observed import huey as hueys
from huey_otel.observed import serializer as serializers
from huey_otel.observed import storage as storages
from huey_otel.observed.health import Health
from huey_otel.observed.observation import Observation
from huey_otel.observed.periodic import Timetable
from huey_otel.observed.recorder import Recorder
from huey_otel.observed.tracing import Tracing

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_PRODUCERS_EXIT: Final = 1.0
"""Seconds that a process which runs no consumer waits for its events at most."""


class Instrumentation:
    """What `instrument` returns; as a context manager it uninstruments at its end.

    With HUEY_OTEL_DISABLED it is inert: all methods do nothing. *automatic* is
    one that nobody asked for in the code.
    """

    def __init__(
        self,
        huey: Huey,
        settings: Settings,
        emitter: RedisEventEmitter | None,
        tracer_provider: TracerProvider | None,
        registry: "CollectorRegistry | None",
        *,
        meter_provider: MeterProvider | None = None,
        automatic: bool = False,
    ) -> None:
        self.automatic = automatic
        self._huey = huey
        self._settings = settings
        self._given_provider = tracer_provider
        self._resolved: Provided | None = None
        self._prepared = False
        self._diversion: Sink | None = None
        in_child(self._after_fork)
        self._shared = _process.shared()
        self._number = self._shared.number()
        self._exposition = (
            Exposition(registry, settings.exposed)
            if settings.disabled
            else self._shared.exposition(self._number, registry, settings.exposed)
        )
        self._health: Health | None = None
        self._destinations = Destinations(huey.name, settings, emitter)
        self._lost_spans = LostSpans(self._provided, settings.span_naming)
        self._semconv = (
            SemconvMetrics(
                lambda: _meters.resolve(
                    meter_provider, settings.metrics_export, huey.name
                )
            )
            if settings.semconv_metrics
            else None
        )
        self._observation: Observation | None = None
        self._serializer: Any = None
        self._limit = min(settings.flush_timeout, _PRODUCERS_EXIT)

    def begin(self) -> None:
        """Swap our classes in; what huey does from now on is seen."""
        recorder = Recorder(
            self._huey,
            self._number,
            self._shared.relay,
            self._settings,
            self._produced,
        )
        self._observation = Observation(
            self,
            recorder,
            Tracing(self._huey.name, self._settings, self._provided),
            storage_is=self._storage_is,
            lifecycle=self,
        )
        source = Source(queue=self._huey.name, host=socket.gethostname())
        self._shared.routes.add(self._number, Route(source, ()))
        self._shared.add(self._number, self)
        try:
            self._storage_is(self._huey.storage)
            self._serializer = self._huey.serializer
            serializers.observe(self._serializer)
            hueys.observe(self._huey, self._observation)
        except BaseException:
            # A class that cannot be subclassed without arguments of its own.
            self.uninstrument()
            raise

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that has happened is delivered; True if it is.

        *timeout* in seconds, None for `flush_timeout`. Raises TypeError or
        ValueError for what is no number of seconds.
        """
        if timeout is None:
            timeout = self._settings.flush_timeout
        timeout = checked_seconds(timeout, f"timeout={timeout!r}")
        if self._observation is None:
            return True
        return self._flush(timeout)

    def _flush(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        # First what may still become a span, then spans and events side by side.
        handled = self._shared.relay.flush(timeout)
        exported = None if self._resolved is None else self._resolved.flush()
        measured = None
        if not self._shared.relay.forked:
            measured = None if self._semconv is None else self._semconv.flush()
            for feed in self._destinations:
                left = max(0.0, deadline - time.monotonic())
                handled = feed.flush(left) and handled
        for done in (exported, measured):
            if done is not None:
                left = max(0.0, deadline - time.monotonic())
                handled = done.wait(left) and handled
        return handled

    def uninstrument(self) -> None:
        """Put huey's own classes back; what was seen until now is still delivered."""
        observation, self._observation = self._observation, None
        if observation is None:
            return
        observation.release_consumers()
        if hueys.observation_of(self._huey) is observation:
            hueys.release(self._huey)
        serializers.release(self._serializer)
        storages.release(self._huey.storage)
        self._flush(self._settings.flush_timeout)
        self._shared.remove(self._number)
        self._destinations.close()

    @property
    def dropped(self) -> Mapping[str, int]:
        """What telemetry this process lost so far, by reason; its workers' included."""
        return LOSSES.counts()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.uninstrument()

    def _provided(self) -> Provided:
        """The tracer, found when it is first needed."""
        resolved = self._resolved
        if resolved is None:
            self._look_again()
            resolved = self._resolved = _provider.resolve(
                self._given_provider, self._settings.export, self._huey.name
            )
        if not self._prepared:
            resolved.prepare()
            self._prepared = True
        return resolved

    def _look_again(self) -> None:
        """Follow a serializer and a storage that huey was given since."""
        huey = self._huey
        if huey.serializer is not self._serializer:
            serializers.release(self._serializer)
            self._serializer = huey.serializer
            serializers.observe(self._serializer)
        if not storages.observed(huey.storage):
            self._storage_is(huey.storage)

    def _after_fork(self) -> None:
        self._prepared = False

    def _produced(self, task: str, origin: str) -> bool:
        """Count what is enqueued where no consumer runs; False where one does."""
        if self._shared.consuming:
            return False
        self._exposition.producer.inc(self._huey.name, task, origin)
        return True

    def _storage_is(self, storage: Any) -> None:
        """Publish where *storage* is, unless we were told where to."""
        emitter, channel = self._destinations.of(storage)
        storages.observe(storage, emitter, channel)
        # What has happened until now belongs to the feed until now.
        self._shared.relay.flush(self._settings.flush_timeout)
        self._destinations.choose(emitter, channel)
        self.renew_sinks()

    def renew_sinks(self) -> None:
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
                self._exposition.metrics,
                self._lost_spans,
                self._semconv,
                self._destinations.current,
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
        self.renew_sinks()

    def consumer_starts(self, consumer: Consumer) -> None:
        """Be ready for its workers, before they are forked."""
        self._limit = self._settings.flush_timeout
        self._shared.patience.begin()
        if consumer.worker_type == WORKER_PROCESS:
            self._shared.patience.share()
        route = self._shared.routes.get(self._number)
        if route is not None:
            route.source = replace(route.source, worker_type=consumer.worker_type)
        # Before the forks: exporters take longer to import than a worker to start.
        self._provided()
        self._shared.consumes()

    def consumer_started(self, consumer: Consumer) -> None:
        """Show its metrics, and say so."""
        shown = RunningConsumer(
            queue=self._huey.name,
            worker_type=consumer.worker_type,
            workers=consumer.workers,
            periodic=consumer.periodic,
            started=time.time(),
            tasks=lambda: hueys.registered(self._huey),
            due=Timetable(self._huey),
        )
        meaning = Meaning(
            carrier=serializers.carriers(self._huey.serializer),
            now=self._huey._get_timestamp,  # noqa: SLF001 - as its scheduler does
        )
        storage = lambda: self._huey.storage  # noqa: E731 - it may be exchanged
        self._exposition.add(self._number, shown, storage, meaning)
        self._health = Health(consumer)
        self._shared.page.open(
            self._number, self._exposition, self._settings.exposed, self._health
        )
        _start_line.log(
            queue=self._huey.name,
            page=self._shared.page.where(self._settings.exposed),
            events=str(self._destinations),
            spans=self._provided().where,
            propagation=self._settings.propagation,
            periodic=consumer.periodic,
        )

    def consumer_stopping(self) -> None:
        """What was waited for until now does not count as a part of the end."""
        if self._health is not None:
            self._health.stopping = True
        self._shared.patience.begin()

    def consumer_stops(self) -> None:
        """Deliver, in the last moment before huey's SIGHUP replaces the process."""
        self._spend()
        self._exposition.stop(self._number)

    def process_exits(self) -> None:
        """Deliver the rest; the relay and the feed end with the process."""
        if self._observation is None:
            return
        if self._shared.relay.forked:
            self._spend()
            # The parent is told what got lost.
            self._shared.relay.flush(0.0)
            return
        self._observation.workers.abandon()
        self._spend()
        self._destinations.close()

    def _spend(self) -> None:
        self._shared.patience.spend(self._limit, self._flush)
        if self._resolved is not None:
            self._resolved.give_up()


def instrumentation_of(huey: Huey) -> Instrumentation | None:
    """The Instrumentation of *huey*, None if it has none."""
    observation = hueys.observation_of(huey)
    return None if observation is None else observation.owner
