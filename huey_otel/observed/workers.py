"""Workers: who they are, that they live, and what happens when the consumer stops."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from huey.constants import WORKER_PROCESS

from huey_otel import mapping
from huey_otel._attempts import HERE
from huey_otel._guard import guarded
from huey_otel._records import Record
from huey_otel.observed.recorder import Recorder

if TYPE_CHECKING:
    from huey.consumer import Consumer


class Workers:
    """Sees the consumer start, its workers come and go, and its end.

    *starts* is called with the worker type when a consumer starts, *stopping*
    when it is told to stop, *stops* when its work is over.
    """

    def __init__(
        self,
        recorder: Recorder,
        starts: Callable[[str], None],
        stopping: Callable[[], None],
        stops: Callable[[], None],
    ) -> None:
        self._recorder = recorder
        self._starts = starts
        self._stopping = stopping
        self._stops = stops

    @guarded
    def consumer_starts(self, consumer: "Consumer") -> None:
        """Before the consumer starts, so before it forks."""
        self._recorder.worker_type = consumer.worker_type
        self._starts(consumer.worker_type)
        if consumer.worker_type == WORKER_PROCESS:
            self._recorder.relay.open_pipe()

    @guarded
    def workers_started(self, consumer: "Consumer") -> None:
        """All workers run: notice it when one of them dies."""
        if consumer.worker_type == WORKER_PROCESS:
            for process in _processes(consumer):
                self._recorder.relay.watch(process, self._gone(process.pid, None))

    @guarded
    def scheduler_checked(self, consumer: "Consumer") -> None:
        """Before huey replaces a dead scheduler: what a thread of it held is lost.

        huey 2 lets an enqueue that fails end the scheduler, with all ripe tasks
        that it still had.
        """
        if consumer.worker_type == WORKER_PROCESS:
            return
        if not consumer.environment.is_alive(consumer.scheduler):
            self._recorder.relay.send(self._gone(self._recorder.relay.pid, "Scheduler"))

    @guarded
    def worker_begins(self) -> None:
        """A worker is about to take its first task; called by the worker itself."""
        if self._recorder.worker_type == WORKER_PROCESS:
            HERE.worker = multiprocessing.current_process().name
        else:
            HERE.worker = threading.current_thread().name

    @guarded
    def worker_ends(self, reason: str) -> None:
        """A worker ends of itself; huey replaces it."""
        self._recorder.say(mapping.WORKER_ENDED, extra={"reason": reason})

    @guarded
    def consumer_stopping(self) -> None:
        """Before huey waits for its workers, or interrupts them."""
        self._stopping()

    @guarded
    def consumer_stops(self) -> None:
        """Huey has reported its interrupted tasks, and exits or restarts next."""
        self._stops()

    def abandon(self) -> None:
        """The process ends: what its threads still hold is lost with it."""
        self._recorder.relay.send(self._gone(self._recorder.relay.pid, None))

    def _gone(self, pid: int, worker: str | None) -> Record:
        return Record(
            self._recorder.source,
            mapping.GONE,
            time.time(),
            pid,
            0,
            worker,
            None,
            None,
            None,
        )


def _processes(consumer: "Consumer") -> list[Any]:
    return [consumer.scheduler, *(process for _, process in consumer.worker_threads)]
