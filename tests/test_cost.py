"""The cost of a task and of an import, in figures that a busy machine does not change.

`make cost` has all variants, and the budgets. MOST is what the code has today, and 3 %
for other processors; lower it at any time, raise it only with a reason.
"""

import shutil
from typing import Final

import pytest

from benchmarks import cost
from benchmarks.path import BARE, FLOOR, FULL, METRICS
from tests.support.programs import missing

# Of one set of versions: huey and the SDK have shares in it.
pytestmark = pytest.mark.once

MOST: Final = {
    "metrics and events, as a multiple of bare huey": 1.88,
    "100 %, over bare huey, as a multiple of the SDK's two spans": 0.52,
    "the same, with relay and sinks": 0.77,
}
MOST_CALLS: Final = {METRICS: 44, FULL: 67}


def over(found: dict[str, float], most: dict[str, float]) -> dict[str, float]:
    """The figures that are over their bound."""
    return {what: figure for what, figure in found.items() if figure > most[what]}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_task_stays_within_its_instructions() -> None:
    if shutil.which("valgrind") is None:
        missing("valgrind")

    counted = cost.instructions([BARE, METRICS, FULL, FLOOR])

    bare, full, floor = counted[BARE].own, counted[FULL], counted[FLOOR].own
    figures = (
        counted[METRICS].own / bare,
        (full.own - bare) / floor,
        (full.all - bare) / floor,
    )
    assert over(dict(zip(MOST, figures, strict=True)), MOST) == {}


@pytest.mark.slow
def test_an_import_stays_within_its_instructions() -> None:
    if shutil.which("valgrind") is None:
        missing("valgrind")

    ours, theirs = cost.imports()

    assert ours / theirs <= cost.MOST_IMPORTING


def test_a_task_stays_within_its_python_calls() -> None:
    called, _ = cost.calls([METRICS, FULL])

    found = {variant: called[variant].own for variant in MOST_CALLS}

    assert over(found, MOST_CALLS) == {}
