"""A consumer's life, as its telemetry follows it: start, stop, and the process' end."""

import textwrap
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from huey.constants import WORKER_PROCESS, WORKER_THREAD

from huey_otel import _names as n
from huey_otel._options.settings import Propagation
from huey_otel._process.outputs import Outputs
from huey_otel._process.shared import Shared
from huey_otel._prometheus.consumers import ConsumerInfo, Limits
from huey_otel._safety.encodable import printable
from huey_otel._safety.forks import look_around
from huey_otel._safety.greenlets import patched
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import logger, warn
from huey_otel._safety.shutdown import LAST_PAGE, LAST_READ, PRODUCER_EXIT
from huey_otel._safety.version import version
from huey_otel._storage.carriers import reader_of
from huey_otel._storage.contents import Meaning
from huey_otel._tasks.health import Health
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.schedule import Timetable, registered
from huey_otel._tasks.signs import LOOKED, Heart, signs
from huey_otel._tasks.stuck import Stuck
from huey_otel._tasks.workers import Workers, pids, processes
from huey_otel._wire.client import CLIENT

if TYPE_CHECKING:
    from huey.consumer import Consumer


_WIDTH: Final = 79
_MEANING: Final = {
    n.PROPAGATE_AUTO: "a task runs in the trace that enqueued it",
    n.PROPAGATE_CHILD: "a task always runs in the trace that enqueued it",
    n.PROPAGATE_LINK: "a task begins a trace with a link to its enqueue",
    n.PROPAGATE_NONE: "a task begins a trace of its own",
}


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
        self._heart = Heart()
        self._health: Health | None = None
        # huey's consumers begin to log once they have imported the application.
        self._unheard = () if logger.hasHandlers() else self._settings.warnings
        self._limit = min(self._settings.flush_timeout, PRODUCER_EXIT)

    @guarded
    def starts(self, consumer: "Consumer") -> None:
        """Before *consumer* starts, so before it forks."""
        look_around()
        if (
            consumer.worker_type not in (WORKER_PROCESS, WORKER_THREAD)
            and not patched()
        ):
            warn(
                "queue %s: its workers are greenlets, but gevent has not patched the"
                " standard library, so one that waits stops them all, and the"
                " scheduler; call gevent.monkey.patch_all() before anything else is"
                " imported",
                self._huey.name,
            )
        CLIENT.consumes()
        self._recorder.worker_type = consumer.worker_type
        self._recorder.scheduler = scheduler = signs(consumer)
        # It may hang before its first look; a worker's start-up hooks may take hours.
        scheduler[LOOKED] = time.monotonic()
        # Not only for worker processes: a task may fork as well.
        self._shared.relay.open_pipe()
        for process in processes(consumer):
            self._workers.made(consumer, process)
        with self._shared.showing:
            if self._shared.has(self._number):
                self._prepare(consumer)

    def _prepare(self, consumer: "Consumer") -> None:
        self._limit = self._settings.flush_timeout
        self._shared.shutdown.begin()
        if consumer.worker_type == WORKER_PROCESS:
            self._shared.shutdown.share()
        route = self._outputs.route
        route.source = route.source._replace(worker_type=consumer.worker_type)
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
        held = partial(exposition.held, self._number)
        stuck = Stuck(consumer, self._recorder.scheduler, self._heart, held)
        self._health = health = Health(consumer, stuck)
        shown = ConsumerInfo(
            queue=queue,
            worker_type=consumer.worker_type,
            workers=consumer.workers,
            periodic=consumer.periodic,
            started=time.time(),
            tasks=lambda: registered(huey),
            due=Timetable(huey),
            stuck=lambda: health.stuck(Limits(settings.stuck_after)),
            service_version=self._outputs.tracer.service_version,
            pids=lambda: pids(consumer),
        )
        meaning = Meaning(carrier=reader_of(huey.serializer), now=huey._get_timestamp)
        # The storage may be exchanged later.
        exposition.add(self._number, shown, lambda: huey.storage, meaning)
        for warning in self._unheard:
            warn("%s", warning)
        self._unheard = ()
        page = self._shared.page
        page.open(self._number, queue, exposition, settings.exposed, health)
        pages = self._outputs.publish_page(self._number, self._shared.owners)
        parts = {
            "metrics": page.where(exposition, settings.exposed),
            **({"metrics pages": pages} if pages else {}),
            "events": self._outputs.where_events_go,
            "spans": self._outputs.tracer.resolved().where,
            "propagation": _meaning_of(settings.propagation),
            "periodic tasks": "on" if consumer.periodic else "off",
        }
        logger.info("%s", start_line(queue, parts))

    @guarded
    def goes_on(self) -> None:
        """Huey's main loop goes round."""
        self._heart.beat()

    @guarded
    def stopping(self) -> None:
        """Before huey waits for its workers, or interrupts them."""
        if self._health is not None:
            self._health.stopping = True
        self._shared.shutdown.begin()

    @guarded
    def stops(self) -> None:
        """Deliver: huey has reported interrupted tasks, and exits or restarts next."""
        self._outputs.ends()
        self._deliver()
        self._outputs.exposition.stop(self._number)

    @guarded
    def process_ends(self) -> None:
        """Deliver before the application's providers are shut down."""
        self._deliver()

    @guarded
    def process_exits(self) -> None:
        """Deliver the rest; the relay and the publishers end with the process."""
        if self._shared.relay.forked:
            self._deliver()
            # The parent learns what got lost.
            self._shared.relay.flush(0.0)
        else:
            self._workers.abandon()
            self._outputs.ends()
            self._deliver()
            self._outputs.close()

    @guarded
    def process_leaves(self) -> None:
        """All hueys have delivered, or lost, what they could: say so on the page."""
        if not self._shared.relay.forked:
            self._outputs.close_page(LAST_PAGE)

    def _deliver(self) -> None:
        self._shared.shutdown.spend(self._limit, self._outputs.flush)
        if not self._shared.relay.forked:
            self._shared.relay.flush(LAST_READ)
        tracer = self._outputs.tracer
        if tracer.left:
            # They ended meanwhile: workers that are threads run on while we wait.
            self._shared.shutdown.spend(self._limit, self._outputs.flush)
        tracer.give_up()
        if not self._shared.relay.forked:
            # What was lost on the way is on the last page as well.
            self._shared.shutdown.spend(self._limit, self._outputs.renew_page)


def start_line(queue: str, parts: Mapping[str, str]) -> str:
    """Where the telemetry of *queue* goes: a line for each of *parts*, no passwords."""
    lines = [f"huey-otel {version()} observes"]
    for name, value in {"queue": queue, **parts}.items():
        lines += textwrap.wrap(
            printable(f"{name}: {value}"),
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _meaning_of(propagation: Propagation) -> str:
    if callable(propagation):
        return "chosen for each task by a callable"
    return f"{propagation}, {_MEANING[propagation]}"
