"""A task's path: the programs in which `benchmarks.cost` counts instructions and calls.

    python -m benchmarks.path instructions|calls VARIANT...

The task does nothing, on a huey in memory whose consumer has no workers: this thread
enqueues, dequeues and executes it, TASKS times. Meanwhile the relay's thread is held
up, as it is between its rounds under load; then it delivers all records to the sinks.
Nothing leaves the process: no events without a Redis, and no batch of spans is full.

Each variant has a fork of its own, made before there are threads, so none inherits
what another has warmed up. Its line of JSON has the fork's process id, and the calls
by leg.
"""

import gc
import json
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Final

import opentelemetry
from huey import Huey, MemoryHuey
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import DEFAULT_OFF, DEFAULT_ON, Sampler
from prometheus_client import CollectorRegistry

import huey_otel
from benchmarks import floor
from huey_otel._otel import light
from huey_otel._safety.forks import EXCLUSION

BARE: Final = "bare huey"
METRICS: Final = "metrics and events"
UNSAMPLED: Final = "everything, not sampled"
FULL: Final = "everything, 100 %"
FALLBACK: Final = "everything, 100 %, by the SDK's own spans"
FLOOR: Final = "the bare SDK's two spans, without huey"
VARIANTS: Final = (BARE, METRICS, UNSAMPLED, FULL, FALLBACK, FLOOR)

MARK: Final = "mark"
"""The leg of a mark alone, which every other leg has as well."""

DELIVER_ONE: Final = "deliver one"
"""The delivery of one task, with all that another delivery has as well."""

ENQUEUE: Final = "enqueue"
DEQUEUE: Final = "dequeue"
EXECUTE: Final = "execute"
DELIVER: Final = "deliver"
OWN: Final = (ENQUEUE, DEQUEUE, EXECUTE)
"""The legs of the task's own thread."""

WARM_UP: Final = 40
TASKS: Final = 25
PARTS: Final = (MARK, DELIVER_ONE, "", *OWN * TASKS, DELIVER)
"""The leg of each part between two marks."""

_NEVER: Final = 3_600_000
"""Milliseconds until what time makes due, so that none of it is while we count."""

_OURS: Final = f"{Path(huey_otel.__file__).parent}{os.sep}"
_WATCHED: Final = (_OURS, *(f"{folder}{os.sep}" for folder in opentelemetry.__path__))

Mark = Callable[[str], None]
"""Called with each leg that begins, and with an empty text after the last one."""


class AnothersProvider(TracerProvider):
    """Not exactly the SDK's provider, so its spans are the SDK's own."""


def provider(
    make: type[TracerProvider] = TracerProvider, sampler: Sampler = DEFAULT_ON
) -> TracerProvider:
    """The SDK, up to where spans wait to be exported."""
    made = make(sampler=sampler, shutdown_on_exit=False)
    exporter = floor.Dropping()
    made.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=_NEVER))
    return made


def _nothing() -> None:
    """The task."""


@dataclass(frozen=True, slots=True)
class Way:
    """What a task goes through, and how its records are delivered."""

    enqueue: Callable[[], object]
    dequeue: Callable[[], Any]
    execute: Callable[[Any], object]
    deliver: Callable[[], None] = lambda: None
    watched: bool = False
    """Whether there is a relay."""

    def once(self, mark: Mark) -> None:
        """Take one task all the way."""
        mark(ENQUEUE)
        self.enqueue()
        mark(DEQUEUE)
        taken = self.dequeue()
        mark(EXECUTE)
        self.execute(taken)


@contextmanager
def way_of(variant: str) -> Iterator[Way]:
    """The way of a task of *variant*."""
    if variant == FLOOR:
        spans = floor.Spans(provider())
        yield Way(lambda: spans.produce({}), lambda: None, lambda _: spans.work())
        return
    huey: Huey = MemoryHuey("bench")
    task = huey.task()(_nothing)
    if variant == BARE:
        yield Way(task, huey.dequeue, huey.execute)
        return
    providers: dict[str, Callable[[], TracerProvider]] = {
        UNSAMPLED: lambda: provider(sampler=DEFAULT_OFF),
        FULL: provider,
        FALLBACK: lambda: provider(AnothersProvider),
    }
    instrumentation = huey_otel.instrument(
        huey,
        tracer_provider=providers[variant]() if variant in providers else None,
        registry=CollectorRegistry(),
        metrics_port=None,
    )

    def deliver() -> None:
        if not instrumentation.flush(60.0) or any(instrumentation.dropped.values()):
            raise RuntimeError(f"telemetry was lost: {instrumentation.dropped}")

    consumer = huey.create_consumer(workers=0, periodic=False, scheduler_interval=600)
    consumer.start()
    try:
        yield Way(task, huey.dequeue, huey.execute, deliver, watched=True)
    finally:
        consumer.stop(graceful=True)


def walk(variant: str, mark: Mark) -> None:
    """Take TASKS on the way of *variant*, with a mark before each of PARTS."""
    gc.disable()
    # No thread asks for the turn of another one, which would be counted.
    sys.setswitchinterval(1000.0)
    # What is done once a second would be done for each task, as slow as they are here.
    light.LOOK_AFTER = _NEVER * 1_000_000
    with way_of(variant) as way:
        for _ in range(WARM_UP):
            way.once(_ignore)
        way.deliver()
        with _relay_held_up(way):
            mark(MARK)
            mark(DELIVER_ONE)
        way.deliver()
        mark("")
        with _relay_held_up(way):
            for _ in range(TASKS):
                way.once(mark)
            mark(DELIVER)
        way.deliver()
        mark("")


def _ignore(_: str) -> None:
    """Mark nothing."""


@contextmanager
def _relay_held_up(way: Way) -> Iterator[None]:
    """Let one task wake the relay up, which then waits as long as the block lasts."""
    deadline = time.monotonic() + 60.0
    with EXCLUSION:
        way.once(_ignore)
        # A thread that waits for the exclusion holds its turnstile.
        while way.watched and not EXCLUSION._turnstile.locked():  # noqa: SLF001
            if time.monotonic() > deadline:
                raise RuntimeError("the relay does not wait, so it would be counted")
            time.sleep(0.01)
        yield


MARKING: Final = "getppid"
"""The C function that a mark calls, before which callgrind writes what it counted."""


def mark_for_callgrind(_: str) -> None:
    """Call MARKING."""
    os.getppid()


@dataclass
class Calls:
    """Counts our calls and OpenTelemetry's by leg and file, in all its threads.

    These are the one that enters it, and those that start later.
    """

    _leg: str = ""
    found: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def __enter__(self) -> "Calls":
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """Note a call, as `sys.setprofile` announces it."""
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(_WATCHED):
            self.found[self._leg][file] += 1

    def mark(self, leg: str) -> None:
        """Count for *leg* from now on."""
        self._leg = leg


def calls(variant: str) -> dict[str, float]:
    """The calls of *variant* for one task, and the number of our files on its way.

    Methods that dataclasses and named tuples generate are in no file, and not counted.
    """
    with Calls() as noted:
        walk(variant, noted.mark)
    all_: Counter[str] = sum((noted.found[leg] for leg in (*OWN, DELIVER)), Counter())
    many = {leg: sum(files.values()) for leg, files in noted.found.items()}
    return {
        **{leg: many.get(leg, 0) / TASKS for leg in OWN},
        DELIVER: (many.get(DELIVER, 0) - many.get(DELIVER_ONE, 0)) / TASKS,
        "files": sum(file.startswith(_OURS) for file in all_),
    }


def main() -> None:
    """Count what the command line names, each variant in a fork."""
    what, *variants = sys.argv[1:]
    for variant in variants:
        pid = os.fork()
        if not pid:
            found = {"pid": float(os.getpid())}
            if what == "calls":
                found |= calls(variant)
            else:
                walk(variant, mark_for_callgrind)
            sys.stdout.write(f"{json.dumps(found)}\n")
            sys.stdout.flush()
            os._exit(0)
        if os.waitpid(pid, 0)[1]:
            raise SystemExit(f"{variant}: its process has failed")


if __name__ == "__main__":
    main()
