"""The Instrumentation: the parts of one instrumented huey, begun and ended."""

import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final, Self

from huey.api import Huey
from huey.constants import WORKER_PROCESS
from huey.consumer import Consumer

from huey_otel import _names as n
from huey_otel._hooks import huey as hueys
from huey_otel._hooks import serializer as serializers
from huey_otel._hooks.observation import Observation
from huey_otel._options.settings import Settings
from huey_otel._options.values import checked_seconds
from huey_otel._otel.provider import Provided
from huey_otel._prometheus.consumers import RunningConsumer
from huey_otel._prometheus.registry import Exposition
from huey_otel._relay.routes import Route
from huey_otel._safety import encodable
from huey_otel._safety.log import RETICENT, logger, warn
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.shutdown import LAST_READ, PRODUCER_EXIT
from huey_otel._setup import process, start_line
from huey_otel._setup.outputs import Outputs
from huey_otel._storage.contents import Meaning
from huey_otel._tasks.health import Health
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.schedule import Timetable
from huey_otel._tasks.tracing import Tracing
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import Sink, Source


class Instrumentation:
    """What `instrument` returns; as a context manager it uninstruments at its end.

    With HUEY_OTEL_DISABLED it is inert: all methods do nothing. *automatic* is
    one that nobody asked for in the code.
    """

    def __init__(
        self,
        huey: Huey,
        settings: Settings,
        *,
        automatic: bool = False,
    ) -> None:
        self.automatic = automatic
        self.settings = settings
        self._huey = huey
        self._queue = encodable.name(huey.name)
        self._shared = process.shared()
        self._number = self._shared.number()
        self._exposition = (
            Exposition(settings.registry, settings.exposed)
            if settings.disabled
            else self._shared.exposition(
                self._number, settings.registry, settings.exposed
            )
        )
        self._health: Health | None = None
        self._outputs = Outputs(
            huey,
            self._number,
            self._shared,
            settings,
            self._exposition,
            emitter=None if isinstance(settings.events, bool) else settings.events,
            tracer_provider=settings.tracer_provider,
            meter_provider=settings.meter_provider,
        )
        self._observation: Observation | None = None
        # huey's consumers begin to log once they have imported the application.
        self._unheard = () if logger.hasHandlers() else settings.warnings
        self._limit = min(settings.flush_timeout, PRODUCER_EXIT)

    def begin(self, consumers: Sequence[Consumer] = ()) -> None:
        """Swap our classes in; what huey does from now on is seen.

        *consumers* are those that it has made already, and has started perhaps.
        """
        if self.settings.disabled:
            # Events of others may be read here all the same.
            self._outputs.offer_events()
            _INERT[self._huey] = self
            return
        if not self.settings.tracebacks:
            RETICENT.add(self)
        recorder = Recorder(
            self._huey,
            self._number,
            self._shared.relay,
            self.settings,
            self._produced,
        )
        self._observation = Observation(
            self,
            recorder,
            Tracing(self._queue, self.settings, self._outputs.provided),
            storage_is=self._outputs.storage_is,
            lifecycle=self,
        )
        source = Source(queue=self._queue, host=CLIENT.host)
        self._shared.routes.add(self._number, Route(source, ()))
        self._shared.add(self._number, self)
        try:
            self._outputs.attach()
            hueys.observe(self._huey, self._observation)
            for consumer in consumers:
                self._observation.adopt(consumer)
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
            timeout = self.settings.flush_timeout
        timeout = checked_seconds(timeout, f"timeout={timeout!r}")
        if self._observation is None:
            return True
        return self._outputs.flush(timeout)

    def uninstrument(self) -> None:
        """Put huey's own classes back; what was seen until now is still delivered."""
        observation, self._observation = self._observation, None
        if observation is None:
            if _INERT.get(self._huey) is self:
                del _INERT[self._huey]
                self._outputs.release()
            return
        observation.release_consumers()
        if hueys.observation_of(self._huey) is observation:
            hueys.release(self._huey)
        self._outputs.release()
        self._outputs.flush(self.settings.flush_timeout)
        with self._shared.showing:
            self._shared.remove(self._number)
        self._outputs.destinations.close()
        RETICENT.discard(self)

    @property
    def channel(self) -> str:
        """The channel of the queue's events, whether or not any are published."""
        _, channel = self._outputs.destinations.of(self._huey.storage)
        return channel

    @property
    def dropped(self) -> Mapping[str, int]:
        """What telemetry this process lost so far, by reason; its workers' included."""
        return LOSSES.counts()

    def __repr__(self) -> str:
        queue = f"<Instrumentation of queue {self._huey.name!r}"
        if self.settings.disabled:
            return f"{queue}: off, {n.ENV_DISABLED} is set>"
        if self._observation is None:
            return f"{queue}: undone>"
        page = self._shared.page.where(self._exposition, self.settings.exposed)
        events = self._outputs.destinations
        return f"{queue}: metrics {page}; events {events}; {self._outputs}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.uninstrument()

    def _produced(self, task: str, origin: str) -> bool:
        """Count what is enqueued where no consumer runs; False where one does."""
        if self._shared.consuming:
            return False
        self._exposition.producer.inc(self._queue, task, origin)
        return True

    def renew_sinks(self) -> None:
        """Send records to whoever takes them now."""
        self._outputs.renew()

    def diverted(self, provided: Provided, sink: Sink) -> AbstractContextManager[None]:
        """Send spans to *provided* and records to *sink*, and nowhere else."""
        return self._outputs.diverted(provided, sink)

    def consumer_starts(self, consumer: Consumer) -> None:
        """Be ready for its workers, before they are forked."""
        with self._shared.showing:
            if self._observation is not None:
                self._prepare(consumer)

    def _prepare(self, consumer: Consumer) -> None:
        self._limit = self.settings.flush_timeout
        self._shared.shutdown.begin()
        if consumer.worker_type == WORKER_PROCESS:
            self._shared.shutdown.share()
        route = self._shared.routes.get(self._number)
        if route is not None:
            route.source = replace(route.source, worker_type=consumer.worker_type)
        # Before the forks: exporters take longer to import than a worker to start.
        self._outputs.prepare()
        self._shared.consumes()

    def consumer_started(self, consumer: Consumer) -> None:
        """Show its metrics, and say so."""
        with self._shared.showing:
            if self._observation is not None:
                self._show(consumer)

    def _show(self, consumer: Consumer) -> None:
        shown = RunningConsumer(
            queue=self._queue,
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
        for warning in self._unheard:
            warn("%s", warning)
        self._unheard = ()
        self._shared.page.open(
            self._number,
            self._queue,
            self._exposition,
            self.settings.exposed,
            self._health,
        )
        start_line.log(
            queue=self._queue,
            page=self._shared.page.where(self._exposition, self.settings.exposed),
            events=str(self._outputs.destinations),
            spans=self._outputs.provided().where,
            propagation=self.settings.propagation,
            periodic=consumer.periodic,
        )

    def consumer_stopping(self) -> None:
        """What was waited for until now does not count as a part of the end."""
        if self._health is not None:
            self._health.stopping = True
        self._shared.shutdown.begin()

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
        self._outputs.destinations.close()

    def _spend(self) -> None:
        self._shared.shutdown.spend(self._limit, self._outputs.flush)
        if not self._shared.relay.forked:
            self._shared.relay.flush(LAST_READ)
        self._outputs.give_up()


def instrumentation_of(huey: Huey) -> Instrumentation | None:
    """The Instrumentation of *huey*, None if it has none."""
    observation = hueys.observation_of(huey)
    return _INERT.get(huey) if observation is None else observation.owner


_INERT: Final[weakref.WeakKeyDictionary[Huey, Instrumentation]] = (
    weakref.WeakKeyDictionary()
)
"""Those that only let events be read, while HUEY_OTEL_DISABLED is set."""
