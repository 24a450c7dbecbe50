"""Workers: their names and deaths, and what is lost with one."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from huey.constants import WORKER_PROCESS

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._otel.span_counts import SPANS
from huey_otel._safety import encodable
from huey_otel._safety.guard import guarded
from huey_otel._tasks.attempt import Attempt, disown_all, unfinished
from huey_otel._tasks.context import HERE
from huey_otel._tasks.recorder import Recorder
from huey_otel._wire.record import Record

if TYPE_CHECKING:
    from huey.consumer import Consumer


class Workers:
    """Records how the workers and the scheduler of a consumer begin, end and die."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @guarded
    def made(self, consumer: "Consumer", process: Any) -> None:
        """Before *process*, a worker or the scheduler, starts."""
        if consumer.worker_type == WORKER_PROCESS:
            SPANS.prepare(process)

    @guarded
    def begins(self, name: str) -> None:
        """Before a worker's first task; called by the worker itself."""
        HERE.local.doing.worker = encodable.name(name)

    @guarded
    def ends(self, reason: str) -> None:
        """A worker ends of itself; huey replaces it."""
        extra = {"reason": reason, "after": HERE.local.doing.last}
        self._recorder.say(mapping.WORKER_ENDED, extra=extra)

    def watch(self, consumer: "Consumer") -> None:
        """Notice the death of each worker process."""
        if consumer.worker_type == WORKER_PROCESS:
            for process in processes(consumer):
                self._recorder.relay.watch(process, self._gone(process.pid, None))

    @guarded
    def before_check(self, consumer: "Consumer") -> list[Any]:
        """Before huey replaces the dead: what a dead scheduler held is lost.

        huey 2 lets an enqueue that fails end the scheduler, with all ripe tasks
        that it still had; a forked one is watched like a worker.
        """
        alive = consumer.environment.is_alive
        if consumer.worker_type != WORKER_PROCESS and not alive(consumer.scheduler):
            self._leave(
                attempt
                for attempt in list(unfinished.values())
                if attempt.source == self._recorder.source
                and attempt.worker == n.SCHEDULER
            )
            self._recorder.relay.send(self._gone(self._recorder.relay.pid, n.SCHEDULER))
        return processes(consumer)

    @guarded
    def after_check(self, consumer: "Consumer", before: list[Any] | None) -> None:
        """Huey has replaced those that were dead, of the scheduler and the workers."""
        self.watch(consumer)
        now = processes(consumer)
        for number, (old, new) in enumerate(zip(before or [], now, strict=False)):
            if old is not new:
                pid = getattr(old, "pid", None) or self._recorder.relay.pid
                name, status = n.SCHEDULER, mapping.SCHEDULER_REPLACED
                if number:
                    name, status = worker_name(number), mapping.WORKER_REPLACED
                gone = self._gone(pid, name)
                self._recorder.relay.send(gone._replace(status=status))

    def abandon(self) -> None:
        """Before the process ends: what threads of a consumer still hold is lost."""
        if self._recorder.worker_type is None:
            # An application that popped a message itself may have put it back.
            return
        # Of all hueys: none of them reports anything after this.
        self._leave(unfinished.values())
        disown_all()
        self._recorder.relay.send(self._gone(self._recorder.relay.pid, None))

    def _leave(self, attempts: Iterable[Attempt]) -> None:
        """Record the ends of those *attempts* that succeeded, and disown all.

        The caller sends a `gone` next, and the relay reports the others as lost. Their
        threads may run on, but record nothing further of them.
        """
        for attempt in list(attempts):
            if attempt.finished_extra is not None:
                self._recorder.close(attempt)
            elif attempt.close() and not (attempt.dequeued or attempt.nested):
                self._recorder.tell(attempt, mapping.DEQUEUED)
            attempt.disown()

    def _gone(self, pid: int, worker: str | None) -> Record:
        recorder, now = self._recorder, time.time()
        return Record(
            recorder.source, mapping.GONE, now, pid, 0, worker, None, None, None
        )


def worker_name(number: int) -> str:
    """How huey calls its worker *number*, from 1 on; greenlets have other names."""
    return f"Worker-{number}"


def pids(consumer: "Consumer") -> list[int]:
    """The ids of the worker processes of *consumer*; none with threads."""
    if consumer.worker_type != WORKER_PROCESS:
        return []
    return [process.pid for _, process in consumer.worker_threads if process.pid]


def processes(consumer: "Consumer") -> list[Any]:
    """The scheduler of *consumer* and its workers: processes, threads or greenlets."""
    return [consumer.scheduler, *(process for _, process in consumer.worker_threads)]
