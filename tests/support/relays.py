"""A relay for a test, and what it has delivered."""

import os
import threading

from huey_otel._relay.relay import Relay
from huey_otel._wire.record import Record, TaskFacts

FACTS = tuple(TaskFacts("id", "send", "app.send", 0, None, 1))


def record(status: str, key: int, *, pid: int | None = None, **extra: object) -> Record:
    pid = os.getpid() if pid is None else pid
    return Record(1, status, 1.5, pid, key, None, FACTS, 2, extra)


def gone(pid: int) -> Record:
    """The record of the death of *pid*."""
    return Record(1, "gone", 1.5, pid, 0, None, None, None, None)


def relay_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "huey-otel-relay"]


class Got:
    """What a relay has delivered, in the place of its routes."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.threads: set[str] = set()
        self.delay: threading.Event | None = None

    def deliver(self, record: Record) -> None:
        self.threads.add(threading.current_thread().name)
        if self.delay is not None:
            self.delay.wait(5)
        self.records.append(record)

    @property
    def steps(self) -> list[tuple[str, int]]:
        return [(r.status, r.key) for r in self.records if not r.sums_up]

    @property
    def sums(self) -> list[Record]:
        return [record for record in self.records if record.sums_up]


def end(relay: Relay) -> None:
    """End what a process keeps for all its life."""
    thread, relay._thread = relay._thread, None
    if thread is not None and relay._waker is not None:
        relay._waker.poke()
        thread.join(5)
        relay._waker.close()
    if relay._pipe is not None:
        relay._pipe.close()
        relay._pipe = relay._reader = None
