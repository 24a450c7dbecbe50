"""Memory of a consumer's main process and of a worker, over many tasks.

    python -m benchmarks.memory [TASKS] [MINUTES]

runs one fully traced consumer until TASKS are done or MINUTES are over, and writes
the table into docs/benchmarks.md.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import document, variants
from benchmarks.children import resident
from benchmarks.document import Promise
from benchmarks.stage import Stage, pairs, stage
from benchmarks.turns import table

SAMPLES: Final = 10
BATCH: Final = 2_000
LONG_BATCH: Final = 20_000
LONG_WORKERS: Final = 4
TASKS: Final = 1_000_000
MINUTES: Final = 20.0
_GROWTH: Final = 8.0
"""By so much one sample differs from the next."""

MEASURED: Final = (variants.BARE, variants.FULL)


@dataclass(frozen=True, slots=True)
class Sample:
    """The resident memory in MB, after *tasks*."""

    tasks: int
    main: float
    worker: float


Figures = dict[str, list[Sample]]


def measure(
    stage: Stage,
    measured: Sequence[str],
    tasks: int,
    *,
    minutes: float = MINUTES,
    workers: int = 1,
    batch: int = BATCH,
) -> Figures:
    """Let each of *measured* execute *tasks* in forked workers, in batches.

    The sampled worker is the one that did the last task of a batch.
    """
    batch = min(batch, tasks // SAMPLES)
    figures: Figures = {name: [] for name in measured}
    with pairs(stage, measured, "process", workers) as made:
        began = time.monotonic()
        done, ended = 0, False
        while not ended:
            last = {name: pair.run(batch).worker for name, pair in made.items()}
            done += batch
            spent = (time.monotonic() - began) / (60 * minutes)
            progress = max(done / tasks, spent)
            ended = progress >= 1
            for name, worker in last.items():
                if ended or len(figures[name]) < SAMPLES * progress:
                    main = made[name].consumer.pid
                    sample = Sample(done, resident(main), resident(worker))
                    figures[name].append(sample)
    return figures


def growth(samples: Sequence[Sample]) -> tuple[float, float]:
    """MB by which main process and worker grew, from a fifth of the run to its end."""
    first, last = samples[len(samples) // 5], samples[-1]
    return last.main - first.main, last.worker - first.worker


def promises(figures: Figures) -> list[Promise]:
    """What these figures must keep."""
    main, worker = growth(figures[variants.FULL])
    what = f"memory flat: at most {_GROWTH:.0f} MB more at the end"
    told = f"main {main:+.1f} MB, worker {worker:+.1f} MB"
    return [(what, told, max(main, worker) <= _GROWTH)]


def figures_table(figures: Figures) -> str:
    """A table of all samples, one row for each number of tasks."""
    head = [
        "tasks",
        *(f"{who}, {name}" for name in figures for who in ("main", "worker")),
    ]
    rows = [
        [
            f"{samples[0].tasks:,}",
            *(f"{mb:.1f}" for one in samples for mb in (one.main, one.worker)),
        ]
        for samples in zip(*figures.values(), strict=True)
    ]
    return table(head, rows)


def section(figures: Figures) -> str:
    """The document's section about these figures."""
    return "\n\n".join(
        (
            "## Memory",
            "Resident MB of a consumer's main process and of its one forked worker, "
            "after so many tasks that do nothing. All telemetry arrived, or the run "
            "would have failed.",
            figures_table(figures),
        )
    )


def long_run(tasks: int, minutes: float) -> str:
    """Run one consumer for long, and return the text about it."""
    with tempfile.TemporaryDirectory() as directory, stage(Path(directory)) as on:
        began = time.monotonic()
        figures = measure(
            on,
            (variants.FULL,),
            tasks,
            minutes=minutes,
            workers=LONG_WORKERS,
            batch=LONG_BATCH,
        )
        spent = (time.monotonic() - began) / 60
    samples = figures[variants.FULL]
    main, worker = growth(samples)
    return "\n\n".join(
        (
            f"{samples[-1].tasks:,} tasks in {spent:.0f} minutes by "
            f"{LONG_WORKERS} forked workers, of which the one that did the last task "
            "was looked at; every span arrived. From the third sample to the last the "
            "main process grew by "
            f"{main:+.1f} MB, the worker by {worker:+.1f} MB.",
            figures_table(figures),
        )
    )


if __name__ == "__main__":
    from benchmarks import setting

    how_many = int(sys.argv[1]) if len(sys.argv) > 1 else TASKS
    how_long = float(sys.argv[2]) if len(sys.argv) > 2 else MINUTES
    told = f"{setting.described()}\n\n{long_run(how_many, how_long)}"
    sys.stdout.write(f"{told}\n")
    document.keep_long_run(told)
