"""Calls: the Python functions that one task goes through, on each leg of its way.

    python -m benchmarks.calls

The task does nothing, on a huey in memory whose consumer has no workers: this thread
enqueues, dequeues and executes it. Then the relay's thread delivers its records to
the sinks, all at once, and falls asleep. A flush before the task, which is not
counted, keeps the relay awake as load does.

A round takes one task all the way. After some rounds to warm up, the most frequent
result of each leg is shown. Methods that dataclasses and named tuples generate are
in no file, and are not counted.
"""

import ast
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Final, Self

import opentelemetry
from huey import Huey, MemoryHuey
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from prometheus_client import CollectorRegistry

import huey_otel
from benchmarks.turns import table

PACKAGE: Final = Path(huey_otel.__file__).parent
OURS: Final = f"{PACKAGE}{os.sep}"
THEIRS: Final = tuple(f"{folder}{os.sep}" for folder in opentelemetry.__path__)

ENQUEUE: Final = "enqueue"
DEQUEUE: Final = "dequeue"
EXECUTE: Final = "execute"
DELIVER: Final = "deliver"
OF_THE_TASK: Final = (ENQUEUE, DEQUEUE, EXECUTE)
LEGS: Final = (*OF_THE_TASK, DELIVER)

WARM_UP: Final = 3
ROUNDS: Final = 9
AWAKE: Final = 0.004
"""Seconds without a call after which the relay has flushed, and is still awake."""

ASLEEP: Final = 0.1
"""Seconds without a call after which it has delivered all, and sleeps."""

NEVER: Final = 3_600_000
"""Milliseconds until a batch of spans is exported, so that none is while we count."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The calls of one leg or of several."""

    ours: tuple[str, ...] = ()
    """The file of each call of ours, in order."""
    theirs: int = 0
    """The calls of OpenTelemetry's."""
    moves: int = 0
    """How many calls of ours are in another file than the one before."""

    @classmethod
    def along(cls, files: list[str]) -> Self:
        """The walk through *files*, one for each Python call."""
        ours = tuple(file for file in files if file.startswith(OURS))
        return cls(
            ours,
            sum(file.startswith(THEIRS) for file in files),
            sum(a != b for a, b in pairwise(ours)),
        )

    def __add__(self, other: "Walk") -> "Walk":
        return Walk(
            self.ours + other.ours,
            self.theirs + other.theirs,
            self.moves + other.moves,
        )

    def cells(self) -> list[str]:
        """The figures, for a table."""
        figures = (len(self.ours), self.theirs, len(set(self.ours)), self.moves)
        return [str(figure) for figure in figures]


HEAD: Final = ("our calls", "OpenTelemetry's", "our files", "moves between files")


@dataclass
class Profile:
    """Notes the file of each Python call, by leg, in all threads that start later."""

    _mine: int = field(default_factory=threading.get_ident)
    _leg: str = ENQUEUE
    _files: dict[str, list[str]] = field(
        default_factory=lambda: {leg: [] for leg in LEGS}
    )
    _last: float = 0.0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call, as `sys.setprofile` announces it."""
        if event != "call":
            return
        leg = self._leg if threading.get_ident() == self._mine else DELIVER
        self._files[leg].append(frame.f_code.co_filename)
        self._last = time.monotonic()

    @contextmanager
    def leg(self, leg: str) -> Iterator[None]:
        """Count the calls of this thread for *leg*."""
        self._leg = leg
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(None)

    def settle(self, seconds: float) -> None:
        """Wait until no other thread has called anything for *seconds*."""
        while (left := self._last + seconds - time.monotonic()) > 0:
            time.sleep(left)

    def taken(self) -> dict[str, Walk]:
        """The walks since the last time."""
        files, self._files = self._files, {leg: [] for leg in LEGS}
        return {leg: Walk.along(of) for leg, of in files.items()}


def nothing() -> None:
    """Do nothing: the task."""


def provider() -> TracerProvider:
    """The SDK, up to where spans wait to be exported."""
    made = TracerProvider(sampler=ALWAYS_ON)
    exporter = InMemorySpanExporter()
    made.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=NEVER))
    return made


def measure(profile: Profile, provider: TracerProvider | None) -> dict[str, Walk]:
    """The walk of each leg."""
    huey: Huey = MemoryHuey("bench")
    task = huey.task()(nothing)
    found: dict[str, Counter[Walk]] = {leg: Counter() for leg in LEGS}
    with (
        huey_otel.instrument(
            huey,
            tracer_provider=provider,
            registry=CollectorRegistry(),
            metrics_port=None,
        ) as instrumentation,
        consuming(huey),
    ):
        for number in range(WARM_UP + ROUNDS):
            if not instrumentation.flush():
                raise RuntimeError("the relay does not deliver")
            profile.settle(AWAKE)
            profile.taken()
            with profile.leg(ENQUEUE):
                task()
            with profile.leg(DEQUEUE):
                taken = huey.dequeue()
            with profile.leg(EXECUTE):
                huey.execute(taken)
            profile.settle(ASLEEP)
            walks = profile.taken()
            if number >= WARM_UP:
                for leg, walk in walks.items():
                    found[leg][walk] += 1
        if any(instrumentation.dropped.values()):
            raise RuntimeError(f"telemetry was lost: {instrumentation.dropped}")
    return {leg: _agreed(leg, walks) for leg, walks in found.items()}


@contextmanager
def consuming(huey: Huey) -> Iterator[None]:
    """Run a consumer of *huey* that leaves its tasks to others."""
    consumer = huey.create_consumer(workers=0, periodic=False, scheduler_interval=60)
    consumer.start()
    try:
        yield
    finally:
        consumer.stop(graceful=True)


def _agreed(leg: str, walks: Counter[Walk]) -> Walk:
    [(walk, times)] = walks.most_common(1)
    if times == 1:
        raise RuntimeError(f"no two rounds have the same {leg}: is the machine busy?")
    return walk


def walks_table(title: str, walks: dict[str, Walk]) -> str:
    """Each leg, the task's own thread and all."""
    own = sum((walks[leg] for leg in OF_THE_TASK), Walk())
    rows = {
        **{leg: walks[leg] for leg in OF_THE_TASK},
        "the task's thread": own,
        DELIVER: walks[DELIVER],
        "all": own + walks[DELIVER],
    }
    return table([title, *HEAD], [[name, *walk.cells()] for name, walk in rows.items()])


def size() -> str:
    """How large the package is."""
    texts = [path.read_text() for path in PACKAGE.rglob("*.py")]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    classes = sum(isinstance(node, ast.ClassDef) for node in nodes)
    functions = sum(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in nodes
    )
    lines = sum(text.count("\n") for text in texts)
    return (
        f"{PACKAGE.name}: {lines:,} lines, {len(texts)} modules, {classes} classes, "
        f"{functions:,} functions and methods"
    )


def main() -> str:
    """Measure and describe all."""
    for name in list(os.environ):
        if name.startswith(("HUEY_OTEL_", "OTEL_")):
            del os.environ[name]
    profile = Profile()
    # Before the relay's thread starts, which the process has once.
    threading.setprofile(profile)
    # The relay gets all records of a task at once: when this thread waits for it.
    sys.setswitchinterval(10.0)
    return "\n\n".join(
        (
            walks_table("without traces", measure(profile, None)),
            walks_table("all sampled", measure(profile, provider())),
            size(),
        )
    )


if __name__ == "__main__":
    sys.stdout.write(f"{main()}\n")
