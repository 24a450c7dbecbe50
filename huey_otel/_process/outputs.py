"""The outputs of one huey: where its records, its spans and its events go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from huey.api import Huey
from huey.storage import RedisStorage

from huey_otel import _names as n
from huey_otel._options.settings import Settings
from huey_otel._otel.attempt_spans import AttemptSpans
from huey_otel._otel.attributes import (
    Operation,
    conclude,
    conclude_without_exception,
)
from huey_otel._otel.provider import LazyTracer, ResolvedProvider
from huey_otel._process.page_owners import PageOwners
from huey_otel._prometheus.registry import RegistryMetrics
from huey_otel._redis.publisher import Publisher
from huey_otel._relay.relay import Relay, Route
from huey_otel._safety import encodable
from huey_otel._safety.forks import in_child
from huey_otel._safety.log import warn
from huey_otel._safety.version import version
from huey_otel._storage import emitter as _emitter
from huey_otel._storage.connections import free_in_child
from huey_otel._storage.emitter import RedisEventEmitter, channel_of
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import Sink, Source

if TYPE_CHECKING:
    from huey_otel._otel.event_logs import EventLogs
    from huey_otel._otel.semconv import SemconvMetrics
    from huey_otel._redis.pages import PageWriter


class Delivery(Protocol):
    """What can be waited for."""

    def wait(self, timeout: float, /) -> bool: ...


class Outputs:
    """The tracer, the sinks, and what delivers the events and metrics of *huey*."""

    def __init__(
        self, huey: Huey, settings: Settings, relay: Relay, exposition: RegistryMetrics
    ) -> None:
        queue = encodable.name(huey.name)
        self._huey = huey
        self._settings = settings
        self._relay = relay
        self.exposition = exposition
        self.destinations = Destinations(huey.name, settings)
        self.page: PageWriter | None = None
        self.tracer = LazyTracer(settings.tracer_provider, settings.export, queue)
        self.route = Route(Source(queue=queue, host=CLIENT.host), ())
        naming = settings.span_naming
        self.attempts = Operation(n.PROCESS, n.TYPE_PROCESS, queue, naming)
        on_spans = settings.exceptions_on_spans
        self.conclude = conclude if on_spans else conclude_without_exception
        self._attempt_spans = AttemptSpans(
            self.tracer.resolved, self.attempts, self.conclude
        )
        self._semconv: SemconvMetrics | None = None
        if settings.semconv_metrics:
            self._semconv = _by_conventions(settings, queue, exposition)
        self._logs = _as_logs(settings, queue)
        self._diversion: Sink | None = None
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        free_in_child(self._huey.storage)

    def load(self) -> None:
        """Import what the first span and record need, with the application."""
        self.tracer.load()
        self.exposition.producer.load()
        if self._logs is not None:
            self._logs.logs.load()
        # Python imports it at the first look-up of a host, in any thread; a child
        # forked meanwhile would wait for that import for ever (CPython 3.11 to 3.13).
        import encodings.idna  # noqa: F401

    def prepare(self) -> None:
        """A consumer starts: make exporters before workers are forked."""
        if self._diversion is None:
            self.tracer.make()
            if self._logs is not None:
                self._logs.logs.make()
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
                self._attempt_spans,
                self._semconv,
                self.destinations.current,
                self._logs,
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

    def publish_page(self, number: int, owners: PageOwners) -> str:
        """Leave the metrics of source *number* in Redis, if wanted; says where.

        The page has the series of which it is the owner. The text is empty where no
        page is wanted.
        """
        interval, storage = self._settings.publish_metrics, self._huey.storage
        if interval is None:
            return ""
        from huey_otel._redis.pages import PageWriter
        from huey_otel._wire.page import Head

        emitter = _emitter.of_storage(storage) or self.destinations.of(storage)[0]
        if emitter is None:
            where = "off, neither the queue nor its events have a Redis in reach"
            warn("queue %s: metrics pages are %s", self._huey.name, where)
            return where
        head = Head(self.route.source.queue, CLIENT.id, interval, version())
        owners.add(number, head.queue)
        make = partial(self.exposition.own_page, partial(owners.owns, number))
        page = PageWriter(emitter, channel_of(self._huey.name, storage), head, make)
        self._end_page()
        self.page = page
        page.begin()
        return str(page)

    def _end_page(self) -> None:
        page, self.page = self.page, None
        if page is not None:
            page.close()

    def ends(self) -> None:
        """The consumer ends: the next page is the last one."""
        if self.page is not None:
            self.page.end()

    def renew_page(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds for a new page; False if it is not written."""
        return self.page is None or self.page.renew().wait(timeout)

    def flush(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until all is delivered; True if it is."""
        deadline = time.monotonic() + timeout
        # Records first, which may become spans; then spans and events side by side.
        handled = self._relay.flush(timeout)
        waited_for: list[Delivery | None] = [self.tracer.flush()]
        if not self._relay.forked:
            if self.page is not None:
                waited_for.append(self.page.renew())
            if self._semconv is not None:
                waited_for.append(self._semconv.flush())
            if self._logs is not None:
                # While Redis is waited for.
                self._logs.hurry()
            for output in self._with_outboxes():
                left = max(0.0, deadline - time.monotonic())
                handled = output.flush(left) and handled
            if self._logs is not None:
                waited_for.append(self._logs.logs.flush())
        for done in waited_for:
            if done is not None:
                left = max(0.0, deadline - time.monotonic())
                handled = done.wait(left) and handled
        return handled

    def _with_outboxes(self) -> "Iterator[Publisher | EventLogs]":
        yield from self.destinations
        if self._logs is not None:
            yield self._logs

    def close(self) -> None:
        """End what delivers events; what is left by now is lost."""
        self.destinations.close()
        if self._logs is not None:
            self._logs.close()

    def close_page(self, timeout: float = 0.0) -> None:
        """End the page, after one with all that is lost by now.

        That one is waited for up to *timeout* seconds, if Redis took the one before.
        """
        if timeout and self.page is not None and self.page.is_taken:
            self.page.renew().wait(timeout)
        self._end_page()

    @property
    def where_events_go(self) -> str:
        """Where events go, for people."""
        if self._logs is None:
            return str(self.destinations)
        if self._settings.events is False:
            return str(self._logs.logs)
        return f"{self.destinations}; and {self._logs.logs}"


def _as_logs(settings: Settings, queue: str) -> "EventLogs | None":
    """The sink that sends events as log records, if they are to be sent so."""
    if settings.logs_export is None:
        return None
    # A process without it does not import OpenTelemetry's logs.
    from huey_otel._otel.event_logs import EventLogs
    from huey_otel._otel.logger_provider import LazyLogs

    logs = LazyLogs(settings.logger_provider, settings.logs_export, queue)
    return EventLogs(logs, queue)


def _by_conventions(
    settings: Settings, queue: str, exposition: RegistryMetrics
) -> "SemconvMetrics":
    """The sink of the conventions' metrics; imports all that its first record needs."""
    # A process without them does not import OpenTelemetry's metrics.
    from huey_otel._otel import meters
    from huey_otel._otel.semconv import SemconvMetrics

    given, export = settings.meter_provider, settings.metrics_export
    meters.load(given, export, exposition.load_reader)
    resolve = partial(meters.resolve, given, export, queue, exposition.reader)
    return SemconvMetrics(resolve)


class Destinations:
    """The publishers of one huey, and the `current` one, None for no events.

    A publisher stays when its storage goes, and delivers what it has: toggling
    `huey.immediate` makes a new storage each time.
    """

    def __init__(self, queue: str, settings: Settings) -> None:
        self._queue = queue
        self.settings = settings
        self._publishers: dict[tuple[str, str], Publisher] = {}
        self._out_of_reach = False
        self.current: Publisher | None = None

    def of(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Where events go while *storage* is the queue's, and on which channel."""
        own = _emitter.of_storage(storage)
        self._out_of_reach = own is None and isinstance(storage, RedisStorage)
        emitter = own
        if not isinstance(self.settings.events, bool):
            emitter = self.settings.events
        elif self.settings.events is False:
            emitter = None
        given = self.settings.channel or (emitter.channel if emitter else None)
        return emitter, channel_of(self._queue, storage, given)

    def choose(self, storage: Any) -> tuple[RedisEventEmitter | None, str]:
        """Publish where `of` says for *storage* from now on, and return that."""
        self.current = None
        emitter, channel = self.of(storage)
        if emitter is not None:
            known = (emitter.address, channel)
            if known not in self._publishers:
                self._publishers[known] = Publisher(
                    *(emitter, channel, encodable.name(self._queue)),
                    stream=self.settings.stream,
                )
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
            kept = f", {self.current.stream}" if self.current.stream else ""
            return f"on channel {self.current.channel!r} of {self.current.server}{kept}"
        if self.settings.events is False and self.settings.logs_export is not None:
            return "off, events=otlp"
        if self.settings.events is False:
            return "off, events=None"
        if self._out_of_reach:
            return (
                "off, how the queue reaches its Redis cannot be taken over:"
                " pass events=RedisEventEmitter(url=...)"
            )
        return "off, the queue has no Redis; events= or HUEY_OTEL_EVENTS names one"
