"""What one task costs in the thread that enqueues it, and in the one that executes it.

On a huey in memory, whose own share is small. Each variant has a process of its own,
because Sentry patches huey for the whole process.
"""

import gc
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from huey import Huey, MemoryHuey

from benchmarks import floor, variants
from benchmarks.children import Answer, Child, answer
from benchmarks.floor import Floor
from benchmarks.turns import Spread, in_turns, table

TASKS: Final = 250
SIDES: Final = {"produce": "producer", "work": "worker"}
_FLOORS: Final = {
    floor.SAMPLED: variants.SAMPLERS[variants.FULL],
    floor.UNSAMPLED: variants.SAMPLERS[variants.UNSAMPLED],
}
MEASURED: Final = (
    *(variants.BARE, *variants.OURS),
    *(floor.SAMPLED, floor.UNSAMPLED, variants.STATS, variants.SENTRY),
)
Figures = dict[str, dict[str, tuple[Spread, Spread]]]
"""CPU and wall microseconds of a task, by side and variant."""


def measure(rounds: int, place: Path) -> Figures:
    """Measure all variants in turns."""
    with ExitStack() as stack:
        children = {}
        for name in MEASURED:
            environ = variants.SAMPLERS.get(name, {}) | _FLOORS.get(name, {})
            log = place / "in-memory.log"
            child = Child(__name__, name, log=log, BENCH_PLACE=str(place), **environ)
            stack.callback(child.end)
            children[name] = child
        figures: Figures = {}
        for side in SIDES:
            asked = {name: partial(_ask, one, side) for name, one in children.items()}
            # Not counted: these fill caches and start threads.
            in_turns(asked, 2)
            found = in_turns(asked, rounds)
            figures[side] = {
                name: (
                    Spread.of([cpu for cpu, _ in all_]),
                    Spread.of([w for _, w in all_]),
                )
                for name, all_ in found.items()
            }
        return figures


def _ask(child: Child, side: str) -> tuple[float, float]:
    said = child.ask(side)
    return said["cpu"] / TASKS * 1e6, said["wall"] / TASKS * 1e6


def section(figures: Figures, rounds: int) -> str:
    """The document's section about these figures."""
    parts = [
        f"## A task that does nothing, in one thread\n\nOn `MemoryHuey`, {TASKS} tasks "
        f"a round, {rounds} rounds; µs for each task, of the thread that enqueues or "
        "works. What other threads do with the records is not in it, it is in the next "
        f"section. `{variants.SENTRY}` drops its envelopes, `{variants.STATS}` writes "
        "to SQLite, spans end at an exporter that drops them. The bare SDK makes the "
        "same span and injects or extracts its context, without huey."
    ]
    for side, title in SIDES.items():
        of = figures[side]
        bare = of[variants.BARE][0].least
        rows = []
        for name, (cpu, wall) in of.items():
            # The bare SDK runs without huey: nothing to subtract.
            more = "" if name in _FLOORS else f"{cpu.least - bare:+.1f}"
            rows.append([name, *cpu.cells(), more, *wall.cells()])
        head = ["CPU least", "median", "middle half", "over bare"]
        parts.append(
            table([f"{title} side", *head, "wall least", "median", "middle half"], rows)
        )
    return "\n\n".join(parts)


def ratio(figures: Figures, side: str, ours: str, bare_sdk: str) -> float:
    """What *ours* adds to huey, as a multiple of *bare_sdk*; by the fastest rounds."""
    of = {name: cpu.least for name, (cpu, _) in figures[side].items()}
    return (of[ours] - of[variants.BARE]) / of[bare_sdk]


def added(figures: Figures, side: str, ours: str) -> float:
    """Microseconds of CPU that *ours* adds to a task; by the fastest rounds."""
    of = figures[side]
    return of[ours][0].least - of[variants.BARE][0].least


def nothing() -> None:
    """The task."""


class Queue:
    """A huey in memory with one task, instrumented as *variant*."""

    def __init__(self, variant: str) -> None:
        self._huey: Huey = MemoryHuey("bench")
        self._task = self._huey.task()(nothing)
        options = {}
        if variant in variants.SAMPLERS:
            options["tracer_provider"] = floor.provider()
        self._watched = variants.watch(variant, self._huey, **options)

    def produce(self, tasks: int) -> tuple[float, float]:
        """Time the enqueue of *tasks*."""
        task, cpu, wall = self._task, time.thread_time(), time.perf_counter()
        for _ in range(tasks):
            task()
        spent = time.thread_time() - cpu, time.perf_counter() - wall
        self._huey.storage.flush_queue()
        return spent

    def work(self, tasks: int) -> tuple[float, float]:
        """Time the execution of *tasks*."""
        for _ in range(tasks):
            self._task()
        self.settle()
        huey, cpu, wall = self._huey, time.thread_time(), time.perf_counter()
        for _ in range(tasks):
            huey.execute(huey.dequeue())
        return time.thread_time() - cpu, time.perf_counter() - wall

    def settle(self) -> None:
        """Deliver all telemetry, so that it does not run into the next measurement."""
        self._watched.settle()
        gc.collect()


def _answering(variant: str) -> None:
    measured = Floor() if variant in _FLOORS else Queue(variant)

    def told(do: Callable[[int], tuple[float, float]]) -> Answer:
        cpu, wall = do(TASKS)
        measured.settle()
        return {"cpu": cpu, "wall": wall}

    answer(produce=lambda: told(measured.produce), work=lambda: told(measured.work))


if __name__ == "__main__":
    _answering(sys.argv[1])
