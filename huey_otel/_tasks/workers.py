"""Workers: their names, health and deaths, and what is lost with one."""

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
        return processes(consumer)[1:]

    @guarded
    def after_check(self, consumer: "Consumer", before: list[Any] | None) -> None:
        """Huey has replaced the workers that were dead, of those *before*."""
        self.watch(consumer)
        now = processes(consumer)[1:]
        for number, (old, new) in enumerate(zip(before or [], now, strict=False), 1):
            if old is not new:
                pid = getattr(old, "pid", None) or self._recorder.relay.pid
                gone = self._gone(pid, worker_name(number))
                self._recorder.relay.send(gone._replace(status=mapping.WORKER_REPLACED))

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
                self._recorder.ended(attempt)
            elif attempt.close() and not (attempt.dequeued or attempt.nested):
                self._recorder.tell(attempt, mapping.DEQUEUED)
            attempt.disown()

    def _gone(self, pid: int, worker: str | None) -> Record:
        recorder, now = self._recorder, time.time()
        return Record(
            recorder.source, mapping.GONE, now, pid, 0, worker, None, None, None
        )


class Health:
    """Says why a consumer is not well, or None.

    A recycled or dead worker is replaced at huey's next health check, so one is ill
    when it has been dead for over twice the interval, or at once where the checks
    are off. No worker is ill while the consumer is `stopping`.
    """

    def __init__(self, consumer: "Consumer") -> None:
        self._consumer = consumer
        self.stopping = False
        # By process, not by its id, which a later one may get.
        self._dead_since: dict[Any, float] = {}

    def __call__(self) -> str | None:
        if self.stopping:
            return None
        consumer = self._consumer
        patience = 0.0
        if consumer._health_check:
            patience = 2 * consumer._health_check_interval
        now = time.monotonic()
        before, self._dead_since = self._dead_since, {}
        ill = []
        for number, process in enumerate(processes(consumer)):
            if consumer.environment.is_alive(process):
                continue
            since = self._dead_since[process] = before.get(process, now)
            if now - since >= patience:
                ill.append(worker_name(number) if number else n.SCHEDULER)
        return f"dead: {', '.join(ill)}" if ill else None


def worker_name(number: int) -> str:
    """How huey calls its worker *number*, from 1 on; greenlets have other names."""
    return f"Worker-{number}"


def processes(consumer: "Consumer") -> list[Any]:
    """The scheduler of *consumer* and its workers: processes, threads or greenlets."""
    return [consumer.scheduler, *(process for _, process in consumer.worker_threads)]
