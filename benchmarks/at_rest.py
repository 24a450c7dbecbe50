"""At rest: the CPU of an idle consumer, and the time that imports take."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks import variants
from benchmarks.children import ROOT, cpu
from benchmarks.stage import Stage, pairs
from benchmarks.turns import Spread, in_turns, table

EXPORTED: Final = 7.0
"""Seconds after which the last task's spans have been exported."""

MEASURED: Final = (variants.BARE, variants.METRICS, variants.FULL)
WORKERS: Final = (("thread", 1), ("process", 4))
Idle = dict[tuple[str, int, str], float]
"""Milliseconds of CPU a second, by kind, workers and variant."""

IMPORTS: Final = {
    "huey": ("", "from huey import RedisHuey"),
    "huey_otel, after huey": ("from huey import RedisHuey", "import huey_otel"),
    "instrument(huey), after both": (
        "from huey import RedisHuey; import huey_otel; huey = RedisHuey('bench')",
        "huey_otel.instrument(huey)",
    ),
    "instrument(huey), after prometheus_client too": (
        "from huey import RedisHuey; import huey_otel, prometheus_client;"
        " huey = RedisHuey('bench')",
        "huey_otel.instrument(huey)",
    ),
}
_TIMED: Final = """
import json, sys, time
{before}
cpu, wall = time.process_time(), time.perf_counter()
{what}
spent = time.process_time() - cpu, time.perf_counter() - wall
json.dump([1e3 * one for one in spent], sys.stdout)
"""


def idle(stage: Stage, seconds: float) -> Idle:
    """Measure all consumers at the same time, while they are idle."""
    with ExitStack() as stack:
        families = {}
        for kind, workers in WORKERS:
            made = stack.enter_context(pairs(stage, MEASURED, kind, workers))
            for name, pair in made.items():
                # Some threads start with the first task.
                pair.run("nothing", 20)
                families[kind, workers, name] = pair.consumer.family
        time.sleep(EXPORTED)
        before = {who: sum(map(cpu, pids)) for who, pids in families.items()}
        began = time.monotonic()
        time.sleep(seconds)
        spent = time.monotonic() - began
        return {
            who: (sum(map(cpu, pids)) - before[who]) / spent * 1e3
            for who, pids in families.items()
        }


def imports(rounds: int) -> dict[str, tuple[Spread, Spread]]:
    """CPU and wall milliseconds of each import, each in a new process."""
    asked: dict[str, Callable[[], tuple[float, float]]] = {
        name: partial(_import, before, what) for name, (before, what) in IMPORTS.items()
    }
    in_turns(asked, 1)
    return {
        name: (
            Spread.of([cpu for cpu, _ in all_]),
            Spread.of([wall for _, wall in all_]),
        )
        for name, all_ in in_turns(asked, rounds).items()
    }


def _import(before: str, what: str) -> tuple[float, float]:
    program = _TIMED.format(before=before, what=what)
    told = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used, wall = json.loads(told)
    return used, wall


def section(
    resting: Idle, imported: dict[str, tuple[Spread, Spread]], seconds: float
) -> str:
    """The document's section about these figures."""
    rows = [
        [f"{workers} x {kind}, {name}", f"{used:.2f}"]
        for (kind, workers, name), used in resting.items()
    ]
    imports_ = [
        [name, *used.cells(), *wall.cells()] for name, (used, wall) in imported.items()
    ]
    times = ["least", "median", "middle half"]
    return "\n\n".join(
        (
            "## At rest",
            "ms of CPU a second, of a consumer with all its workers, over "
            f"{seconds:.0f} s without a task; all at the same time.",
            table(["idle consumer", "CPU ms/s"], rows),
            "ms in a new process, with compiled files in place. `instrument` imports "
            "what the first task would else wait for: prometheus_client, and what "
            "the environment asks for, see docs/deploy.md.",
            table(
                ["import", *(f"CPU {t}" for t in times), *(f"wall {t}" for t in times)],
                imports_,
            ),
        )
    )
