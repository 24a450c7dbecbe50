"""Workers: who they are, that they live, and what happens when the consumer stops."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

from huey.constants import WORKER_PROCESS, WORKER_THREAD

from huey_otel import mapping
from huey_otel._otel.span_counts import SPANS
from huey_otel._safety import encodable
from huey_otel._safety.forks import look_around
from huey_otel._safety.greenlets import patched
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import warn
from huey_otel._tasks.attempt import Attempt, disown_all, unfinished
from huey_otel._tasks.context import HERE
from huey_otel._tasks.recorder import Recorder
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import Record

if TYPE_CHECKING:
    from huey.consumer import Consumer


class Lifecycle(Protocol):
    """Who is told when a consumer starts, runs, is told to stop, and is done."""

    def consumer_starts(self, consumer: "Consumer") -> None: ...
    def consumer_started(self, consumer: "Consumer") -> None: ...
    def consumer_stopping(self) -> None: ...
    def consumer_stops(self) -> None: ...


class Workers:
    """Sees the consumer start, its workers come and go, and its end."""

    def __init__(self, recorder: Recorder, lifecycle: Lifecycle) -> None:
        self._recorder = recorder
        self._lifecycle = lifecycle

    @guarded
    def consumer_starts(self, consumer: "Consumer") -> None:
        """Before the consumer starts, so before it forks."""
        look_around()
        if consumer.worker_type not in (WORKER_PROCESS, WORKER_THREAD):
            self._see_to_patches()
        CLIENT.consumes()
        self._recorder.worker_type = consumer.worker_type
        # Not only for worker processes: a task may fork as well.
        self._recorder.relay.open_pipe()
        for process in _processes(consumer):
            self.process_made(consumer, process)
        self._lifecycle.consumer_starts(consumer)

    def _see_to_patches(self) -> None:
        if not patched():
            warn(
                "queue %s: its workers are greenlets, but gevent has not patched the"
                " standard library, so one that waits stops them all, and the"
                " scheduler; call gevent.monkey.patch_all() before anything else is"
                " imported",
                self._recorder.huey.name,
            )

    @guarded
    def process_made(self, consumer: "Consumer", process: Any) -> None:
        """*process*, which is not started yet, is to be a worker or the scheduler."""
        if consumer.worker_type == WORKER_PROCESS:
            SPANS.prepare(process)

    @guarded
    def consumer_started(self, consumer: "Consumer") -> None:
        """All workers run."""
        self._watch(consumer)
        self._lifecycle.consumer_started(consumer)

    def _watch(self, consumer: "Consumer") -> None:
        """Notice it when a forked worker dies."""
        if consumer.worker_type == WORKER_PROCESS:
            for process in _processes(consumer):
                self._recorder.relay.watch(process, self._gone(process.pid, None))

    @guarded
    def before_check(self, consumer: "Consumer") -> list[Any]:
        """Before huey replaces who is dead: what a dead scheduler held is lost.

        huey 2 lets an enqueue that fails end the scheduler, with all ripe tasks
        that it still had; a forked one is watched like a worker.
        """
        alive = consumer.environment.is_alive
        if consumer.worker_type != WORKER_PROCESS and not alive(consumer.scheduler):
            self._leave(
                attempt
                for attempt in list(unfinished.values())
                if attempt.source == self._recorder.source
                and attempt.worker == "Scheduler"
            )
            self._recorder.relay.send(self._gone(self._recorder.relay.pid, "Scheduler"))
        return [process for _, process in consumer.worker_threads]

    @guarded
    def after_check(self, consumer: "Consumer", before: list[Any] | None) -> None:
        """Huey has replaced who was dead *before*."""
        self._watch(consumer)
        now = [process for _, process in consumer.worker_threads]
        for number, (old, new) in enumerate(zip(before or [], now, strict=False), 1):
            if old is not new:
                pid = getattr(old, "pid", None) or self._recorder.relay.pid
                replaced = self._gone(pid, worker_name(number))
                self._recorder.relay.send(
                    replaced._replace(status=mapping.WORKER_REPLACED)
                )

    @guarded
    def worker_begins(self, name: str) -> None:
        """A worker is about to take its first task; called by the worker itself."""
        HERE.doing.worker = encodable.name(name)

    @guarded
    def worker_ends(self, reason: str) -> None:
        """A worker ends of itself; huey replaces it."""
        extra = {"reason": reason, "after": HERE.doing.last}
        self._recorder.say(mapping.WORKER_ENDED, extra=extra)

    @guarded
    def consumer_stopping(self) -> None:
        """Before huey waits for its workers, or interrupts them."""
        self._lifecycle.consumer_stopping()

    @guarded
    def consumer_stops(self) -> None:
        """Huey has reported its interrupted tasks, and exits or restarts next."""
        self._lifecycle.consumer_stops()

    def abandon(self) -> None:
        """The process ends: what threads of a consumer still hold is lost with it."""
        if self._recorder.worker_type is None:
            # Somebody who popped a message by hand, and may have put it back.
            return
        # Of all hueys, because none of them has another word after this.
        self._leave(unfinished.values())
        disown_all()
        self._recorder.relay.send(self._gone(self._recorder.relay.pid, None))

    def _leave(self, attempts: Iterable[Attempt]) -> None:
        """Leave *attempts* to `gone`, by which they are lost, unless they have ended.

        Their threads may run on, and say no more of them.
        """
        for attempt in list(attempts):
            if attempt.kept is not None:
                self._recorder.ended(attempt)
            elif attempt.close() and not (attempt.dequeued or attempt.nested):
                self._recorder.tell(attempt, mapping.DEQUEUED)
            attempt.disown()

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


def worker_name(number: int) -> str:
    """How huey calls its worker *number*, from 1 on; greenlets have other names."""
    return f"Worker-{number}"


def _processes(consumer: "Consumer") -> list[Any]:
    return [consumer.scheduler, *(process for _, process in consumer.worker_threads)]
