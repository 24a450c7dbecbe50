"""What a task loses on a real Redis: throughput of its worker, and CPU.

Each variant has a consumer with one worker thread, which is huey's default.
"""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Final

from benchmarks import variants
from benchmarks.document import Promise
from benchmarks.stage import Round, Stage, pairs
from benchmarks.turns import Spread, in_turns, paired, table

TASKS: Final = {0: 2000, 1: 500, 10: 150, 100: 30}
"""How many tasks a round has, by the milliseconds that one waits."""

MEASURED: Final = (
    *(variants.BARE, variants.METRICS, variants.ONE_PERCENT, variants.FULL),
    *(variants.STATS, variants.SENTRY),
)
_WATCHED: Final = MEASURED[1:]

_MOST: Final = (
    (variants.METRICS, variants.STATS, 0.6),
    (variants.FULL, variants.STATS, 1.2),
    (variants.FULL, variants.SENTRY, 0.4),
)
"""What a variant may add to the consumer's CPU, as a multiple of what another adds."""

Figures = dict[int, dict[str, list[Round]]]
"""The rounds by milliseconds and variant."""


def measure(stage: Stage, rounds: int, *, share: float = 1.0) -> Figures:
    """Measure all variants in turns; *share* below 1 makes shorter rounds."""
    figures: Figures = {}
    with pairs(stage, MEASURED, "thread", 1) as made:
        # Not counted: these fill caches and start threads.
        in_turns({name: partial(pair.run, 200) for name, pair in made.items()}, 1)
        empty = {name: partial(pair.run, 0) for name, pair in made.items()}
        without = in_turns(empty, rounds)
        for milliseconds, number in TASKS.items():
            fewer = max(3, int(number * share))
            asked = {
                name: partial(pair.run, fewer, milliseconds)
                for name, pair in made.items()
            }
            figures[milliseconds] = {
                name: list(map(Round.less, all_, without[name]))
                for name, all_ in in_turns(asked, rounds).items()
            }
    return figures


def lost(of: dict[str, list[Round]], variant: str) -> float:
    """The part of a worker's throughput that *variant* takes, median of all rounds."""
    walls = {name: [one.wall for one in rounds] for name, rounds in of.items()}
    return 1 - paired(walls[variants.BARE], walls[variant])


def added(
    of: dict[str, list[Round]],
    variant: str,
    cpu: Callable[[Round], float] = lambda one: one.consumer,
) -> float:
    """Microseconds of CPU for a task over bare huey, of the medians of all rounds."""
    return _median(of[variant], cpu) - _median(of[variants.BARE], cpu)


def _median(rounds: list[Round], cpu: Callable[[Round], float]) -> float:
    return statistics.median(cpu(one) / one.tasks * 1e6 for one in rounds)


def loss(figures: Figures) -> str:
    """The document's section on what a task loses."""
    throughput, cpu = [], []
    for milliseconds, of in figures.items():
        waits = f"{milliseconds} ms" if milliseconds else "nothing"
        bare = of[variants.BARE]
        rate = statistics.median(one.tasks / one.wall for one in bare)
        throughput.append(
            [waits, f"{rate:,.1f}", *(f"{lost(of, name):.1%}" for name in _WATCHED)]
        )
        base = _median(bare, lambda one: one.consumer)
        cpu.append(
            [waits, f"{base:,.0f}", *(f"{added(of, name):+,.0f}" for name in _WATCHED)]
        )
    return "\n\n".join(
        (
            "## What your task loses",
            "How much throughput does a consumer lose? It has one worker thread and a "
            "full queue, and each task waits as long as the first column says. Then "
            "come the tasks a second without any telemetry, and how much less with "
            "it.",
            table(["a task waits", "bare huey, tasks/s", *_WATCHED], throughput),
            "How much CPU does that consumer need, in µs a task, with all its threads? "
            "First without any telemetry, then how much more with it. A task that "
            "computes, instead of waiting, loses this much of its processor.",
            table(["a task waits", "bare huey, µs", *_WATCHED], cpu),
        )
    )


def section(figures: Figures) -> str:
    """The document's section about a task that does nothing."""
    of = figures[0]
    of_stats = added(of, variants.STATS)
    rows = []
    for name, rounds in of.items():
        consumer = Spread.of([one.consumer / one.tasks * 1e6 for one in rounds])
        extra = ["", "", "", ""]
        if name != variants.BARE:
            extra = [
                f"{added(of, name):+.0f}",
                f"{added(of, name) / of_stats:.2f}",
                f"{added(of, name, lambda one: one.producer):+.0f}",
                f"{added(of, name, lambda one: one.redis):+.0f}",
            ]
        rows.append([name, *consumer.cells(0)[1:], *extra])
    head = (
        *("median", "middle half", "over bare", f"x {variants.STATS}"),
        *("producer, over bare", "Redis, over bare"),
    )
    return "\n\n".join(
        (
            "## A task that does nothing",
            f"µs of CPU for each of {of[variants.BARE][0].tasks:,} tasks a round, "
            f"{len(of[variants.BARE])} rounds. First the consumer, with one worker "
            "thread and all threads of telemetry, then the extra CPU of the producer "
            "and of Redis. All telemetry arrived, or the run would have failed.",
            table(["CPU of the consumer", *head], rows),
        )
    )


def promises(figures: Figures) -> list[Promise]:
    """What these figures must keep."""
    of, made = figures[0], []
    for ours, other, most in _MOST:
        mine, theirs = added(of, ours), added(of, other)
        what = f"a consumer's CPU over bare huey, {ours}: at most {most} x {other}"
        told = f"{mine / theirs:.2f} x ({mine:+.0f} µs to {theirs:+.0f})"
        made.append((what, told, mine <= most * theirs))
    return made
