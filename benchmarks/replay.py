"""A replay: what a consumer's main process takes for many tasks a second.

No two processors can run 10,000 tasks a second and Redis beside them. So a worker, of
huey's own forking, runs the tasks beforehand, on a queue in memory, and each write to
its relay's pipe is recorded. Then another process makes the same writes to the pipe
again, RATE tasks a second or as fast as the pipe takes them. Metrics are on, events
go to a real Redis, and spans to a receiver of OTLP in a process of its own.

At first the worker runs as many tasks while the main process does not read at all.
"""

import os
import pickle
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huey import Huey, MemoryHuey
from prometheus_client import CollectorRegistry

from benchmarks import variants
from benchmarks.children import REST, WORKER, Answer, Child, answer, pin
from benchmarks.document import Promise
from benchmarks.stage import Stage
from benchmarks.turns import table
from huey_otel import RedisEventEmitter, instrument
from huey_otel._process.shared import shared
from huey_otel._safety.forks import EXCLUSION

RATE: Final = 10_000
RATES: Final = {f"{RATE:,} tasks a second": RATE, "as fast as the pipe takes them": 0}
"""Tasks a second of each replay; 0 for no limit."""

HELD_UP: Final = "read only after all were done"

_QUEUE: Final = "replay"
_BUDGET: Final = 100.0
"""Microseconds of CPU of the main process for a task, at RATE."""

_STRIDE: Final = 200
"""Writes at a stretch, before the next ones wait until they are due."""

_PAUSE: Final = 0.05
"""Seconds between two looks at what has been counted."""

_PATIENCE: Final = 60_000
"""Milliseconds for which the recording may stand still."""

_END: Final = b"end of the recording"

_BURST: Final = 500
"""Tasks that are enqueued at a time, so that the SDK's queue has room for the spans."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of the tasks of one replay."""

    tasks: int
    cpu: float
    """Seconds of the main process, all threads, until everything was delivered."""
    seconds: float
    """Until everything was written into the pipe; 0 if it was there before."""
    counted: int
    """Attempts that the metrics have counted."""
    events: int
    spans: int
    """Those that have arrived."""
    lost: dict[str, int]

    @property
    def cost(self) -> float:
        """Microseconds of CPU for a task."""
        return self.cpu / self.tasks * 1e6


Figures = dict[str, Replayed]


def measure(stage: Stage, tasks: int) -> Figures:
    """Measure *tasks* in each way; raise unless all attempts are counted."""
    main = Child(
        __name__,
        *("main", str(tasks)),
        log=stage.log,
        BENCH_URL=stage.redis.url,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{stage.port}/{_QUEUE}",
        BENCH_PLACE=str(stage.place),
    )
    try:
        return {name: _measured(stage, main, name, tasks) for name in (HELD_UP, *RATES)}
    finally:
        main.end()


def _measured(stage: Stage, main: Child, name: str, tasks: int) -> Replayed:
    # The first one is answered when all tasks are enqueued.
    main.ask("ready")
    events, spans = _published(stage), stage.arrived(_QUEUE)
    told = main.ask("measure", name=name)
    found = Replayed(
        tasks=tasks,
        cpu=told["cpu"],
        seconds=told["seconds"],
        counted=told["counted"],
        events=_published(stage) - events,
        spans=stage.arrived(_QUEUE) - spans,
        lost=told["lost"],
    )
    if found.counted != tasks:
        raise AssertionError(f"{name}: {found.counted} attempts counted of {tasks}")
    return found


def _published(stage: Stage) -> int:
    stats = stage.client.info("commandstats")
    return int(stats.get("cmdstat_publish", {"calls": 0})["calls"])


def section(figures: Figures) -> str:
    """The document's section about these figures."""
    rows = [
        [
            name,
            f"{one.cost:.0f}",
            f"{one.tasks / one.seconds:,.0f}" if one.seconds else "",
            f"{one.counted:,}",
            *(f"{many:,}" for many in (one.events, one.spans)),
            ", ".join(f"{why} {many:,}" for why, many in one.lost.items()) or "nothing",
        ]
        for name, one in figures.items()
    ]
    tasks = figures[HELD_UP].tasks
    head = ("CPU, µs a task", "tasks/s", "attempts counted", "events", "spans", "lost")
    return "\n\n".join(
        (
            "## A consumer's main process under load",
            f"A forked worker's records of {tasks:,} tasks that do nothing, recorded "
            "once and then written into the consumer's pipe again, faster than any "
            "worker could. CPU is that of the main process, all threads, until "
            "metrics, events on Redis and spans over OTLP are delivered. A task has "
            "two events and one span of an attempt. What the main process does not "
            "read in time is summed up by the worker. Spans that the worker exports "
            "itself are not part of this.",
            table(["the pipe is written", *head], rows),
        )
    )


def promises(figures: Figures) -> list[Promise]:
    """What these figures must keep."""
    [name, *_] = RATES
    cost = figures[name].cost
    what = f"main process, {name}: at most {_BUDGET:.0f} µs of CPU a task"
    return [(what, f"{cost:.0f} µs", cost <= _BUDGET)]


def _nothing() -> None:
    """The task."""


class Main:
    """A consumer's main process, with one worker that runs *tasks* in each way."""

    def __init__(self, tasks: int) -> None:
        pin(os.getpid(), WORKER)
        self._tasks = tasks
        self._huey: Huey = MemoryHuey(_QUEUE)
        self._registry = CollectorRegistry()
        self._told = instrument(
            self._huey,
            registry=self._registry,
            metrics_port=None,
            events=RedisEventEmitter(url=os.environ["BENCH_URL"]),
        )
        self._relay = shared().relay
        # The worker inherits a queue of its own, and ends of all pipes.
        task = self._huey.task()(_nothing)
        for _ in range((1 + len(RATES)) * tasks // _BURST):
            for _ in range(_BURST):
                task()
            self._told.flush(60.0)
        self._huey.on_startup("run")(self._run)
        self._taps = [os.pipe2(os.O_DIRECT | os.O_CLOEXEC) for _ in RATES]
        self._done = os.pipe()
        place = Path(os.environ["BENCH_PLACE"])
        self._recorded = {name: place / f"{RATES[name]}.replay" for name in RATES}
        self._consumer = self._huey.create_consumer(
            workers=1, worker_type="process", periodic=False
        )

    def _run(self) -> None:
        """In the worker: run the tasks; at first a tap is in the place of its pipe."""
        end = self._relay._writer.end  # type: ignore[union-attr] # noqa: SLF001
        pipe = os.dup(end)
        for _, tap in self._taps:
            os.dup2(tap, end)
            self._execute()
            os.dup2(pipe, end)
            os.write(tap, _END)
        os.close(pipe)
        self._execute()
        os.write(self._done[1], _END)

    def _execute(self) -> None:
        for _ in range(self._tasks):
            self._huey.execute(self._huey.dequeue())

    def hold_up(self) -> float:
        """Record, then let the worker run while the relay does not read the pipe."""
        with EXCLUSION:
            self._consumer.start()
            for path, (tap, _) in zip(self._recorded.values(), self._taps, strict=True):
                path.write_bytes(pickle.dumps(list(_writes(tap))))
            list(_writes(self._done[0]))
        return 0.0

    def replay(self, name: str) -> float:
        """Write what was recorded into the pipe; return the seconds that it took."""
        end = self._relay._pipe.write_end  # type: ignore[union-attr] # noqa: SLF001
        seconds = RATES[name] and self._tasks / RATES[name]
        given = (str(self._recorded[name]), str(end), str(seconds))
        written = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", __spec__.name, "write", *given],
            pass_fds=[end],
            stdout=subprocess.PIPE,
            check=True,
        )
        return float(written.stdout)

    def measure(self, name: str) -> Answer:
        """Let the tasks be told of, and deliver all."""
        lost, attempts = Counter(self._told.dropped), variants.attempts(self._registry)
        began = time.process_time()
        seconds = self.hold_up() if name == HELD_UP else self.replay(name)
        if name == HELD_UP:
            # The recording does not count.
            began = time.process_time()
        deadline, counted = time.monotonic() + 60.0, 0
        while counted < self._tasks and time.monotonic() < deadline:
            if not self._told.flush(60.0):
                raise TimeoutError("the telemetry was not delivered")
            counted = variants.attempts(self._registry) - attempts
            # What a worker keeps for want of room, it writes when there is room.
            time.sleep(_PAUSE)
        return {
            "cpu": time.process_time() - began,
            "seconds": seconds,
            "counted": counted,
            "lost": Counter(self._told.dropped) - lost,
        }

    def end(self) -> None:
        """End the worker."""
        self._consumer.stop(graceful=True)


def _writes(tap: int) -> Iterator[bytes]:
    """Each write to *tap*; a pipe in packet mode does not join them (Linux 3.4)."""
    there = select.poll()
    there.register(tap, select.POLLIN)
    while there.poll(_PATIENCE) and (one := os.read(tap, select.PIPE_BUF)) != _END:
        yield one


def write(recorded: Path, end: int, seconds: float) -> None:
    """Make the writes again, evenly within *seconds*, and print how long it took."""
    writes = pickle.loads(recorded.read_bytes())  # noqa: S301 - our own file
    room = select.poll()
    room.register(end, select.POLLOUT)
    began = time.monotonic()
    for number, one in enumerate(writes):
        if number % _STRIDE == 0:
            due = began + seconds * number / len(writes)
            time.sleep(max(0.0, due - time.monotonic()))
        while True:
            try:
                os.write(end, one)
            except BlockingIOError:
                room.poll()
            else:
                break
    sys.stdout.write(str(time.monotonic() - began))


if __name__ == "__main__":
    if sys.argv[1] == "main":
        main = Main(int(sys.argv[2]))
        answer(ready=lambda: None, measure=main.measure)
        main.end()
    else:
        pin(os.getpid(), REST)
        write(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
