"""Throughput: tasks a second, compared with a bare huey in the same run."""

from functools import partial
from typing import Final

from benchmarks import variants
from benchmarks.stage import Round, Stage, pairs
from benchmarks.turns import Spread, in_turns, paired, table

MEASURED: Final = (variants.BARE, variants.METRICS, variants.FULL)
WORKERS: Final = (("thread", 1), ("thread", 4), ("process", 4))
TASKS: Final = {
    "nothing": "nothing",
    "sleep": "1 ms of sleep",
    "compute": "1 ms of CPU",
}
NUMBERS: Final = {("sleep", 1): 250, ("compute", 1): 250, ("compute", 4): 500}
"""Tasks a round by task and workers, so that rounds last about equally long.

Elsewhere a round has MOST tasks.
"""

MOST: Final = 1000

_EXPORT: Final = {"OTEL_BSP_SCHEDULE_DELAY": "250"}
"""Milliseconds; by default spans would be exported only after the round."""

Figures = dict[tuple[str, int, str], dict[str, list[Round]]]
"""The rounds by kind, workers and task, then by variant."""


def measure(stage: Stage, rounds: int, *, share: float = 1.0) -> Figures:
    """Measure all in turns; *share* below 1 makes shorter rounds."""
    figures: Figures = {}
    for kind, workers in WORKERS:
        with pairs(stage, MEASURED, kind, workers, **_EXPORT) as made:
            for task in TASKS:
                number = _number(task, workers, share)
                asked = {
                    name: partial(pair.run, task, number) for name, pair in made.items()
                }
                in_turns({n: partial(p.run, task, 50) for n, p in made.items()}, 1)
                figures[kind, workers, task] = in_turns(asked, rounds)
    return figures


def _number(task: str, workers: int, share: float) -> int:
    return int(NUMBERS.get((task, workers), MOST) * share)


def ratios(figures: Figures, kind: str, workers: int, task: str) -> dict[str, float]:
    """Each variant's throughput as a fraction of bare huey's; by the fastest rounds."""
    walls = _walls(figures[kind, workers, task])
    return {name: min(walls[variants.BARE]) / min(all_) for name, all_ in walls.items()}


def _walls(of: dict[str, list[Round]]) -> dict[str, list[float]]:
    return {name: [one.wall for one in rounds] for name, rounds in of.items()}


def section(figures: Figures, *, share: float = 1.0) -> str:
    """The document's section about these figures."""
    rows = []
    number_of_rounds = 0
    for (kind, workers, task), of in figures.items():
        walls = _walls(of)
        best = ratios(figures, kind, workers, task)
        number = _number(task, workers, share)
        number_of_rounds = len(walls[variants.BARE])
        for name, all_ in walls.items():
            rates = Spread.of([number / wall for wall in all_])
            median = paired(walls[variants.BARE], all_)
            rows.append(
                [
                    f"{workers} x {kind}, {TASKS[task]}, {name}",
                    f"{number / min(all_):.0f}",
                    f"{rates.median:.0f}",
                    f"{rates.lower:.0f} to {rates.upper:.0f}",
                    "" if name == variants.BARE else f"{best[name]:.3f}",
                    "" if name == variants.BARE else f"{median:.3f}",
                    f"{min(one.family for one in of[name]) / number * 1e6:.0f}",
                ]
            )
    return "\n\n".join(
        (
            "## Throughput",
            "Tasks a second from a queue that is full, by workers and by what a task "
            f"does, {number_of_rounds} rounds. Where the workers want more CPU than "
            "the machine has, the ratio is one of CPU, not of time. Spans leave each "
            "250 ms, so that exports fall into the round. CPU is the least of all "
            "processes of the consumer, which other users of the machine disturb less "
            "than they do time.",
            table(
                [
                    *("workers, task", "tasks/s best", "median", "middle half"),
                    *(
                        "best to bare's best",
                        "median ratio of a round",
                        "CPU, µs a task",
                    ),
                ],
                rows,
            ),
        )
    )
