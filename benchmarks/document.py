"""Writes docs/benchmarks.md."""

import re
from collections.abc import Sequence
from typing import Final

from benchmarks.children import ROOT
from benchmarks.turns import table

PATH: Final = ROOT / "docs" / "benchmarks.md"
_BEGIN: Final = "<!-- long run -->\n"
_END: Final = "\n<!-- end of the long run -->"
_NONE: Final = "Not run yet."

Promise = tuple[str, str, bool]
"""The promise, the measured value, and whether the promise holds."""

_HOW: Final = (
    "`make bench` has written this page, text and figures, in one run. All that is "
    "compared runs in short rounds, in turns, and each round begins with another: a "
    "machine that others use hits all alike. *Least* is the fastest round, what a "
    "thing costs undisturbed, and what ratios are made of where nothing else is "
    "said; *median* and *middle half*, from the 25th to the 75th percentile, show "
    "how much the rounds were disturbed. CPU is counted by the kernel, for a thread "
    "or for a process with all its threads."
)


_WHY: Final = (
    "Counted in Python's own instructions, which `tests/test_cost.py` bounds and no "
    "noise moves, a sampled task costs at most 1.6 times the bare SDK where it is "
    "enqueued and 2.15 times where it is worked off. What is left is the mixins that "
    "huey's calls pass, two records for each task, three from a worker process, and "
    "the carrier; no single one of them stands out in a profile. The clock says more "
    "than the instructions do: the bare SDK's loop has the processor's caches to "
    "itself, and a task's path has not. What is not sampled stays far from its budget "
    "because metrics and events alone are: each signal, call and record of a task is "
    "Python that runs on its thread, and less of it would say less, or say it wrongly "
    "when a worker is killed or interrupted."
)


def write(setting: str, promises: Sequence[Promise], sections: Sequence[str]) -> None:
    """Replace the document, but keep the long run of `make bench-memory`."""
    kept = _long_run(PATH.read_text()) if PATH.exists() else _NONE
    parts = [
        "# What it costs",
        _HOW,
        f"Measured {setting}",
        promised(promises),
        _WHY,
        *sections,
        "### A long run\n\n`make bench-memory` has written this, apart from the run "
        "above: a consumer with four worker processes, everything on at 100 %.",
        f"{_BEGIN}{kept}{_END}",
    ]
    PATH.write_text("\n\n".join(parts) + "\n")


def promised(promises: Sequence[Promise]) -> str:
    """All *promises* as a table."""
    rows = [
        [what, measured, "yes" if held else "**no**"]
        for what, measured, held in promises
    ]
    return table(["what must hold", "measured", "holds"], rows)


def keep_long_run(told: str) -> None:
    """Replace the text of the last long run by *told*."""
    text = PATH.read_text()
    PATH.write_text(text.replace(_long_run(text), told))


def _long_run(text: str) -> str:
    found = re.search(f"{re.escape(_BEGIN)}(.*?){re.escape(_END)}", text, re.DOTALL)
    if found is None:
        raise SystemExit(f"{PATH.name} has no place for the long run")
    return found[1]
