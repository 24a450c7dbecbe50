"""The cost of a task, in figures that no noise moves, beside its budgets.

    python -m benchmarks.cost [--check]

Instructions are callgrind's, so valgrind must be installed; Python calls are ours and
OpenTelemetry's. `benchmarks.path` is what is counted. With `--check` it fails if a
budget is missed. `imports` counts what a process pays for ours before the first task.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import document, path
from benchmarks.children import ROOT
from benchmarks.document import Promise
from benchmarks.path import BARE, DELIVER, FALLBACK, FLOOR, FULL, METRICS, UNSAMPLED
from benchmarks.turns import table

_PART: Final = re.compile(r"^part: (\d+)$.*^totals: (\d+)$", re.DOTALL | re.MULTILINE)
_MARKED: Final = "Trigger: --dump-before"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one task costs: instructions or calls by leg."""

    legs: dict[str, float]

    @property
    def own(self) -> float:
        """All legs of the task's own thread."""
        return sum(self.legs[leg] for leg in path.OWN)

    @property
    def all(self) -> float:
        """The task's own thread, and the relay and sinks."""
        return self.own + self.legs[DELIVER]


Costs = dict[str, Cost]
"""By variant."""

IMPORTS: Final = ("from huey_otel import instrument", "import prometheus_client")
MOST_IMPORTING: Final = 2.1
"""30 ms of CPU, where prometheus_client takes 14 ms."""
_IMPORTING: Final = f"""
import gc, os
from huey import RedisHuey
# What was imported before is due for a full collection.
gc.collect()
os.{path.MARKING}()
{IMPORTS[0]}
os.{path.MARKING}()
{IMPORTS[1]}
os.{path.MARKING}()
"""


def instructions(variants: Sequence[str]) -> Costs:
    """What callgrind counts for one task of each of *variants*."""
    with tempfile.TemporaryDirectory() as directory:
        told = _run("instructions", variants, _callgrind(directory))
        return {
            variant: _of_parts(_parts(directory, int(one["pid"])))
            for variant, one in told.items()
        }


def imports() -> list[int]:
    """What callgrind counts for each of IMPORTS, after huey and those before it."""
    program = (sys.executable, "-c", _IMPORTING)
    environ = _environ()
    # The first run may compile modules, for which this variable would leave no trace.
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as directory:
        for under in ((), _callgrind(directory)):
            subprocess.run(  # noqa: S603 - our own text
                [*under, *program], cwd=ROOT, env=environ, check=True
            )
        return _parts(directory, "*")


def _callgrind(directory: str) -> Sequence[str]:
    return (
        *("valgrind", "--tool=callgrind", "--dump-line=no"),
        f"--log-file={directory}/log.%p",
        f"--dump-before={path.MARKING}",
        f"--callgrind-out-file={directory}/%p",
    )


def _parts(directory: str, pid: int | str) -> list[int]:
    """What was counted between two marks of process *pid*, in their order."""
    counted = {}
    for file in Path(directory).glob(f"{pid}.*"):
        text = file.read_text()
        if _MARKED in text and (found := _PART.search(text)):
            counted[int(found[1])] = int(found[2])
    # The first part is what came before the first mark.
    return [counted[number] for number in sorted(counted)][1:]


def _of_parts(parts: Sequence[int]) -> Cost:
    sums: dict[str, int] = defaultdict(int)
    for leg, many in zip(path.PARTS, parts, strict=True):
        sums[leg] += many
    mark = sums[path.MARK]
    legs = {leg: sums[leg] / path.TASKS - mark for leg in path.OWN}
    delivered = (sums[DELIVER] - sums[path.DELIVER_ONE]) / path.TASKS
    return Cost({**legs, DELIVER: delivered})


def calls(variants: Sequence[str]) -> tuple[Costs, dict[str, int]]:
    """The Python calls for one task, and our files on its way, by variant."""
    told = _run("calls", variants)
    return (
        {variant: Cost(one) for variant, one in told.items()},
        {variant: int(one["files"]) for variant, one in told.items()},
    )


def _run(
    what: str, variants: Sequence[str], under: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """What `benchmarks.path` says of each of *variants*."""
    done = subprocess.run(  # noqa: S603 - our own module
        [*under, sys.executable, "-m", path.__name__, what, *variants],
        cwd=ROOT,
        env=_environ(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = map(json.loads, done.stdout.splitlines())
    return dict(zip(variants, lines, strict=True))


def _environ() -> dict[str, str]:
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "HUEY_OTEL_", "COVERAGE_"))
    }
    return environ | {"PYTHONHASHSEED": "0"}


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is counted, by variant."""

    counted: Costs
    called: Costs
    files: dict[str, int]
    imported: Sequence[int]


def measure() -> Figures:
    """Count all variants."""
    called, files = calls(path.VARIANTS)
    return Figures(instructions(path.VARIANTS), called, files, imports())


def promises(figures: Figures) -> list[Promise]:
    """What these figures must keep."""
    counted, called = figures.counted, figures.called
    bare, floor, full = counted[BARE], counted[FLOOR], counted[FULL]

    def thousands(variant: str, most: int) -> Promise:
        figure = (counted[variant].own - bare.own) / 1000
        what = f"{variant}: at most {most} k instructions over bare huey"
        return what, f"{figure:.0f} k", figure <= most

    def spans(what: str, added: float, most: float) -> Promise:
        figure = added / floor.own
        what = f"{what}: at most {most} x the bare SDK's two spans"
        return what, f"{figure:.2f} x", figure <= most

    def python(variant: str, most: int) -> Promise:
        figure = called[variant].own
        return f"{variant}: at most {most} calls", f"{figure:.0f}", figure <= most

    fallback = counted[FALLBACK].own - counted[METRICS].own
    ours, theirs = figures.imported
    what = f"{IMPORTS[0]}: at most {MOST_IMPORTING} x {IMPORTS[1]}"
    return [
        thousands(METRICS, 150),
        thousands(UNSAMPLED, 190),
        spans(f"{FULL}, over bare huey", full.own - bare.own, 0.55),
        spans("the same with relay and sinks", full.all - bare.own, 0.8),
        spans(f"{FALLBACK}, over {METRICS}", fallback, 1.2),
        python(METRICS, 30),
        python(FULL, 75),
        (what, f"{ours / theirs:.2f} x", ours <= MOST_IMPORTING * theirs),
    ]


def section(figures: Figures) -> str:
    """The document's section about these figures."""
    bare = figures.counted[BARE].own
    spent, calls_ = [], []
    for variant, cost in figures.counted.items():
        called = figures.called[variant]
        own = [cost.legs[leg] for leg in path.OWN]
        over = cost.own - bare if called.own and variant != FLOOR else 0.0
        thousands = (*own, cost.own, over, cost.legs[DELIVER])
        spent.append([variant, *(str(round(one / 1000) or "") for one in thousands)])
        if called.own:
            each = (*(called.legs[leg] for leg in path.OWN), called.own)
            calls_.append(
                [
                    variant,
                    *(str(round(one)) for one in (*each, called.legs[DELIVER])),
                    str(figures.files[variant]),
                ]
            )
    head = (*path.OWN, "its thread")
    return "\n\n".join(
        (
            "## The path of a task",
            "What one task that does nothing costs on its own thread, with a queue in "
            f"memory, and then in the relay and its sinks ({DELIVER}). Instructions "
            "are in thousands, counted by callgrind. Calls are Python calls of "
            "huey-otel and of OpenTelemetry.",
            table(["k instructions", *head, "over bare", DELIVER], spent),
            table(["Python calls", *head, DELIVER, "our files"], calls_),
        )
    )


def main() -> None:
    """Count, print, and fail if that was asked for and a budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed; on Debian: apt-get install valgrind")
    found = measure()
    held = promises(found)
    sys.stdout.write(f"{section(found)}\n\n{document.promised(held)}\n")
    if given.check and not all(yes for *_, yes in held):
        raise SystemExit("a budget is missed")


if __name__ == "__main__":
    main()
