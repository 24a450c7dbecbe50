"""A producer that enqueues all, and consumers that end while they work on it."""

import os
import signal
from collections.abc import Callable
from typing import Final

import redis
from huey.consumer_options import ConsumerConfig

from runtime.otlp_receiver import Receiver
from tests.live.processes import Consumer, alive
from tests.live.proof import Evidence
from tests.support.waiting import wait_until

QUEUE: Final = "huey.redis.live"
TASKS: Final = 150
SECONDS: Final = 0.01
WORKERS: Final = 4
DEATHS: Final = 3
WAYS: Final = (
    *("SIGINT", "SIGTERM", "SIGHUP", "recycle"),
    *("worker dies", "consumer killed"),
)


class Scene:
    """A producer that has enqueued all, the consumers, and what they leave behind."""

    def __init__(
        self,
        kind: str,
        way: str,
        collector: Receiver,
        evidence: Evidence,
        client: redis.Redis,
        start: Callable[..., Consumer],
        *,
        arrives: bool,
    ) -> None:
        self.kind = kind
        self.way = way
        self.collector = collector
        self.arrives = arrives
        self.evidence = evidence
        self.runs: list[str] = []
        self.killed: set[int] = set()
        self._client = client
        self._start = start

    @property
    def environ(self) -> dict[str, str]:
        patched = {"LIVE_GREENLETS": "1"} if self.kind == "greenlet" else {}
        return {
            **self.evidence.environ,
            **self.collector.environ,
            **patched,
            # As long as a busy machine takes, but not where nobody answers.
            "HUEY_OTEL_FLUSH_TIMEOUT": "30" if self.arrives else "3",
            "LIVE_PRODUCER_EXIT": "30" if self.arrives else "1",
        }

    @property
    def reporting(self) -> list[str]:
        """The runs that could report what they had counted."""
        return self.runs[1:] if self.way == "consumer killed" else self.runs

    @property
    def cut_off_at_most(self) -> int:
        """How many tasks may have been interrupted or lost."""
        if self.way == "consumer killed":
            return WORKERS
        if self.way != "SIGTERM":
            return len(self.killed)
        # huey 2 interrupts its workers before it stops them from taking more tasks.
        return WORKERS if hasattr(ConsumerConfig, "max_tasks") else 2 * WORKERS

    def consumer(self) -> Consumer:
        self.runs.append(str(len(self.runs) + 1))
        recycling = ("-M", "20") if self.way == "recycle" else ()
        return self._start(
            *(self.kind, "-n", "-w", str(WORKERS), "-c", "0.2"),
            *("-d", "0.02", "-m", "0.1", *recycling),
            application="proof",
            LIVE_RUN=self.runs[-1],
            # Long, so that spans still wait at a kill.
            OTEL_BSP_SCHEDULE_DELAY="500",
            **self.environ,
        )

    def end(self, running: Consumer) -> None:
        """Let *running* do half of the work, and end it in the way of this scene."""
        wait_until(lambda: len(self.evidence.lines("ended")) >= TASKS // 2)
        match self.way, self.kind:
            case (("SIGINT" | "SIGTERM"), _):
                running.wait_until_started()
                assert running.stop(signal.Signals[self.way]) == 0
            case "SIGHUP", _:
                running.wait_until_started()
                running.send(signal.SIGHUP)
                wait_until(lambda: bool(self.evidence.reports("1")))
                wait_until(lambda: running.log.count("Huey consumer started") == 2)
                self.work_off(running)
            case "worker dies", "process":
                for _ in range(DEATHS):
                    self._kill_a_worker()
                self.work_off(running)
            case "consumer killed", _:
                os.killpg(running.pid, signal.SIGKILL)
                running.wait()
            case _:
                # Some of the tasks end workers that are threads or greenlets.
                self.work_off(running)

    def work_off(self, running: Consumer) -> None:
        """Let *running* do what is queued, and end it gracefully."""
        wait_until(lambda: not self._client.llen(QUEUE), seconds=90)
        running.wait_until_started()
        assert running.stop(signal.SIGINT) == 0

    def work_off_all(self) -> None:
        """Start consumers until the queue is empty; tasks enqueue more tasks."""
        while self._client.llen(QUEUE):
            self.work_off(self.consumer())

    def _kill_a_worker(self) -> None:
        wait_until(lambda: self._working() is not None)
        pid = self._working()
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            self.killed.add(pid)

    def _working(self) -> int | None:
        for line in reversed(self.evidence.lines("began")):
            if line.pid not in self.killed and alive(line.pid):
                return line.pid
        return None
