"""At rest: the CPU of an idle consumer, and the time that imports take."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks import variants
from benchmarks.children import ROOT, cpu
from benchmarks.document import Promise
from benchmarks.stage import Stage, pairs
from benchmarks.turns import Spread, in_turns, table

EXPORTED: Final = 7.0
"""Seconds after which the last task's spans have been exported."""

MEASURED: Final = (variants.BARE, variants.METRICS, variants.FULL)
WORKERS: Final = (("thread", 1), ("process", 4))
Imports = dict[str, Spread]
Idle = dict[tuple[str, int, str], float]
"""Seconds of CPU a minute, by kind, workers and variant."""

_HUEY: Final = "from huey import RedisHuey; huey = RedisHuey('bench')"
_INSTRUMENT: Final = "from huey_otel import instrument"
_AFTER_HUEY: Final = f"{_INSTRUMENT}, after huey"
IMPORTS: Final = {
    "import huey": ("", "from huey import RedisHuey"),
    "import huey_otel, after huey": (_HUEY, "import huey_otel"),
    _AFTER_HUEY: (_HUEY, _INSTRUMENT),
    "import prometheus_client, after huey": (_HUEY, "import prometheus_client"),
    "instrument(huey), after that import": (
        f"{_HUEY}; {_INSTRUMENT}",
        "instrument(huey)",
    ),
    "instrument(huey), after prometheus_client too": (
        f"{_HUEY}; {_INSTRUMENT}; import prometheus_client",
        "instrument(huey)",
    ),
}
_MOST_IMPORTING: Final = 30.0
"""Milliseconds of `from huey_otel import instrument`."""

_MOST_IDLE: Final = 0.06
"""Seconds of CPU a minute above bare huey: a thousandth of a processor."""

_TIMED: Final = """
import gc, sys, time
{before}
# What was imported before is due for a full collection, which is not our time.
gc.collect()
began = time.process_time()
{what}
sys.stdout.write(str(1e3 * (time.process_time() - began)))
"""


def idle(stage: Stage, seconds: float) -> Idle:
    """Measure all consumers at the same time, while they are idle."""
    with ExitStack() as stack:
        families = {}
        for kind, workers in WORKERS:
            made = stack.enter_context(pairs(stage, MEASURED, kind, workers))
            for name, pair in made.items():
                # Some threads start with the first task.
                pair.run(20)
                families[kind, workers, name] = pair.consumer.family
        time.sleep(EXPORTED)
        before = {who: sum(map(cpu, pids)) for who, pids in families.items()}
        began = time.monotonic()
        time.sleep(seconds)
        spent = time.monotonic() - began
        return {
            who: (sum(map(cpu, pids)) - before[who]) / spent * 60
            for who, pids in families.items()
        }


def imports(rounds: int) -> Imports:
    """CPU milliseconds of each import, each in a new process."""
    asked: dict[str, Callable[[], float]] = {
        name: partial(_import, before, what) for name, (before, what) in IMPORTS.items()
    }
    in_turns(asked, 1)
    return {name: Spread.of(all_) for name, all_ in in_turns(asked, rounds).items()}


def _import(before: str, what: str) -> float:
    program = _TIMED.format(before=before, what=what)
    # Without it, the first run leaves compiled files to the others.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def section(resting: Idle, imported: Imports, seconds: float) -> str:
    """The document's section about these figures."""
    idle_rows = [
        [f"{workers} x {kind}, {name}", f"{used:.3f}"]
        for (kind, workers, name), used in resting.items()
    ]
    rows = [[name, *used.cells()] for name, used in imported.items()]
    return "\n\n".join(
        (
            "## At rest",
            "Seconds of CPU a minute of a consumer with all its workers, over "
            f"{seconds:.0f} s without a task. All ran at the same time.",
            table(["idle consumer", "CPU, s a minute"], idle_rows),
            "Milliseconds of CPU in a new process, with compiled files in place. "
            "`instrument` imports prometheus_client and what the environment asks for, "
            "so that the first task need not wait for it: "
            "[the first request](deploy.md#the-first-request).",
            table(["import", "least", "median", "middle half"], rows),
        )
    )


def promises(resting: Idle, imported: Imports) -> list[Promise]:
    """What these figures must keep."""
    made = []
    for kind, workers in WORKERS:
        bare, ours = (
            resting[kind, workers, name] for name in (variants.BARE, variants.FULL)
        )
        what = (
            f"idle, {workers} x {kind}: at most {_MOST_IDLE} s of CPU a minute over "
            "bare huey"
        )
        made.append((what, f"{ours - bare:+.3f} s", ours - bare <= _MOST_IDLE))
    took = imported[_AFTER_HUEY].median
    what = f"{_AFTER_HUEY}: at most {_MOST_IMPORTING:.0f} ms"
    return [*made, (what, f"{took:.0f} ms", took <= _MOST_IMPORTING)]
