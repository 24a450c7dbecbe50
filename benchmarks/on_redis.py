"""The CPU of all processes for one empty task, on a real Redis."""

from functools import partial
from typing import Final

from benchmarks import variants
from benchmarks.stage import Round, Stage, pairs
from benchmarks.turns import Spread, in_turns, paired, table

TASKS: Final = 500
MEASURED: Final = (
    *(variants.BARE, variants.METRICS, variants.ONE_PERCENT, variants.FULL),
    *(variants.STATS, variants.SENTRY),
)
Figures = dict[str, list[Round]]


def measure(stage: Stage, rounds: int) -> Figures:
    """Measure all variants in turns, with one worker thread."""
    with pairs(stage, MEASURED, "thread", 1) as made:
        asked = {
            name: partial(pair.run, "nothing", TASKS) for name, pair in made.items()
        }
        in_turns(asked, 1)
        return in_turns(asked, rounds)


def cpu(figures: Figures) -> dict[str, list[float]]:
    """Microseconds of CPU of all processes for a task, by variant and round."""
    return {
        name: [one.cpu / TASKS * 1e6 for one in rounds]
        for name, rounds in figures.items()
    }


def overhead(figures: Figures, variant: str) -> float:
    """Microseconds of CPU over bare huey; by the fastest rounds."""
    of = cpu(figures)
    return min(of[variant]) - min(of[variants.BARE])


def section(figures: Figures) -> str:
    """The document's section about these figures."""
    of = cpu(figures)
    rows = []
    for name, rounds in figures.items():
        parts = [
            min(getattr(one, part) for one in rounds) / TASKS * 1e6
            for part in ("producer", "consumer", "redis", "wall")
        ]
        ratio = paired(of[name], of[variants.BARE])
        rows.append(
            [
                name,
                *Spread.of(of[name]).cells(0),
                f"{overhead(figures, name):+.0f}",
                f"{ratio:.2f}",
                *(f"{part:.0f}" for part in parts),
            ]
        )
    return "\n\n".join(
        (
            "## A task that does nothing, on Redis, all processes",
            f"µs of CPU for each of {TASKS} tasks a round, "
            f"{len(figures[variants.BARE])} rounds: producer, consumer with one "
            "worker thread, and Redis. All threads count, relay, feed and exporters, "
            "and a round ends when everything is delivered. Spans go over OTLP/HTTP "
            "to a process that is not counted; that all of them arrive is checked, "
            f"and that every task is told of. `{variants.SENTRY}` has its huey "
            "integration only, traces everything, and drops envelopes before they are "
            f"encoded; `{variants.STATS}` writes to SQLite (WAL). No logging.",
            table(
                [
                    *("all processes", "CPU least", "median", "middle half"),
                    *("over bare", "x bare (median of rounds)"),
                    *("producer", "consumer", "Redis", "wall of the worker"),
                ],
                rows,
            ),
        )
    )
