"""A consumer's life, as its telemetry follows it: start, stop, and the process' end."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from huey.constants import WORKER_PROCESS, WORKER_THREAD

from huey_otel._process import start_line
from huey_otel._process.outputs import Outputs
from huey_otel._process.shared import Shared
from huey_otel._prometheus.consumers import ConsumerInfo
from huey_otel._safety.forks import look_around
from huey_otel._safety.greenlets import patched
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import logger, warn
from huey_otel._safety.shutdown import LAST_READ, PRODUCER_EXIT
from huey_otel._storage.carriers import reader_of
from huey_otel._storage.contents import Meaning
from huey_otel._tasks.health import Health
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.schedule import Timetable, registered
from huey_otel._tasks.workers import Workers, processes
from huey_otel._wire.client import CLIENT

if TYPE_CHECKING:
    from huey.consumer import Consumer


class ConsumerLife:
    """Prepares for a consumer of one huey, shows it, and delivers at the end."""

    def __init__(
        self, recorder: Recorder, workers: Workers, shared: Shared, outputs: Outputs
    ) -> None:
        self._huey = recorder.huey
        self._number = recorder.source
        self._settings = recorder.settings
        self._recorder = recorder
        self._workers = workers
        self._shared = shared
        self._outputs = outputs
        self._health: Health | None = None
        # huey's consumers begin to log once they have imported the application.
        self._unheard = () if logger.hasHandlers() else self._settings.warnings
        self._limit = min(self._settings.flush_timeout, PRODUCER_EXIT)

    @guarded
    def starts(self, consumer: "Consumer") -> None:
        """Before *consumer* starts, so before it forks."""
        look_around()
        if consumer.worker_type not in (WORKER_PROCESS, WORKER_THREAD):
            self._warn_unless_patched()
        CLIENT.consumes()
        self._recorder.worker_type = consumer.worker_type
        # Not only for worker processes: a task may fork as well.
        self._shared.relay.open_pipe()
        for process in processes(consumer):
            self._workers.made(consumer, process)
        with self._shared.showing:
            if self._shared.has(self._number):
                self._prepare(consumer)

    def _warn_unless_patched(self) -> None:
        if not patched():
            warn(
                "queue %s: its workers are greenlets, but gevent has not patched the"
                " standard library, so one that waits stops them all, and the"
                " scheduler; call gevent.monkey.patch_all() before anything else is"
                " imported",
                self._huey.name,
            )

    def _prepare(self, consumer: "Consumer") -> None:
        self._limit = self._settings.flush_timeout
        self._shared.shutdown.begin()
        if consumer.worker_type == WORKER_PROCESS:
            self._shared.shutdown.share()
        route = self._outputs.route
        route.source = replace(route.source, worker_type=consumer.worker_type)
        # Before the forks: exporters take longer to import than a worker to start.
        self._outputs.prepare()
        self._shared.consumes()

    @guarded
    def started(self, consumer: "Consumer") -> None:
        """All workers of *consumer* run: show its metrics, and log the start line."""
        self._workers.watch(consumer)
        with self._shared.showing:
            if self._shared.has(self._number):
                self._show(consumer)

    def _show(self, consumer: "Consumer") -> None:
        huey, settings = self._huey, self._settings
        queue, exposition = self._outputs.route.source.queue, self._outputs.exposition
        shown = ConsumerInfo(
            queue=queue,
            worker_type=consumer.worker_type,
            workers=consumer.workers,
            periodic=consumer.periodic,
            started=time.time(),
            tasks=lambda: registered(huey),
            due=Timetable(huey),
        )
        meaning = Meaning(
            carrier=reader_of(huey.serializer),
            now=huey._get_timestamp,
        )
        # The storage may be exchanged later.
        exposition.add(self._number, shown, lambda: huey.storage, meaning)
        self._health = Health(consumer)
        for warning in self._unheard:
            warn("%s", warning)
        self._unheard = ()
        page = self._shared.page
        page.open(self._number, queue, exposition, settings.exposed, self._health)
        parts = {
            "metrics": page.where(exposition, settings.exposed),
            "events": str(self._outputs.destinations),
            "spans": self._outputs.tracer.resolved().where,
            "propagation": start_line.meaning_of(settings.propagation),
            "periodic tasks": "on" if consumer.periodic else "off",
        }
        start_line.log(queue, parts)

    @guarded
    def stopping(self) -> None:
        """Before huey waits for its workers, or interrupts them."""
        if self._health is not None:
            self._health.stopping = True
        # What was waited for until now does not count as a part of the end.
        self._shared.shutdown.begin()

    @guarded
    def stops(self) -> None:
        """Deliver: huey has reported interrupted tasks, and exits or restarts next."""
        self._deliver()
        self._outputs.exposition.stop(self._number)

    @guarded
    def process_exits(self) -> None:
        """Deliver the rest; the relay and the publishers end with the process."""
        if self._shared.relay.forked:
            self._deliver()
            # Tell the parent what got lost.
            self._shared.relay.flush(0.0)
            return
        self._workers.abandon()
        self._deliver()
        self._outputs.destinations.close()

    def _deliver(self) -> None:
        self._shared.shutdown.spend(self._limit, self._outputs.flush)
        if not self._shared.relay.forked:
            self._shared.relay.flush(LAST_READ)
        self._outputs.tracer.give_up()
