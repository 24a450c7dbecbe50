"""Other observers of the same queue, installed before or after us."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.live.processes import Program

pytestmark = pytest.mark.once

NEIGHBOURS = ["sentry", "stats", "receivers", "hooks", "z4j", "otel"]
ORDERS = [NEIGHBOURS[n:] + NEIGHBOURS[:n] for n in range(len(NEIGHBOURS))]
ORDERS += [order[::-1] for order in ORDERS]

# A receiver lets `fail` be tried only once more, a hook refuses `refused`.
QUEUED = [
    *(("enqueued", 0, 1), ("enqueued", 3, 1), ("enqueued", 0, 1), ("enqueued", 0, 1)),
    *(("started", 0, 1), ("finished", 0, 1)),
    *(("started", 3, 1), ("error-task", 3, 1), ("retrying", 0, 1), ("enqueued", 0, 2)),
    *(("started", 0, 1), ("canceled", 0, 1)),
    *(("started", 0, 1), ("enqueued", 0, 1), ("finished", 0, 1)),
    *(("started", 0, 2), ("error-task", 0, 2)),
    *(("started", 0, 1), ("finished", 0, 1)),
]
IMMEDIATE = [
    *(("enqueued", 0, 1), ("started", 0, 1), ("finished", 0, 1)),
    *(("enqueued", 0, 1), ("started", 0, 1)),
    *(("enqueued", 0, 1), ("started", 0, 1), ("finished", 0, 1)),
    ("finished", 0, 1),
]


@pytest.mark.proof_but(
    "sentry-stats-receivers-hooks-z4j-otel", "otel-z4j-hooks-receivers-stats-sentry"
)
@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_neighbours_of_any_order_do_not_disturb_each_other(
    order: list[str], keep: Callable[[Program], Program], tmp_path: Path
) -> None:
    told = run(keep, tmp_path, order)

    assert told["queued"] == [
        [list(step) for step in QUEUED],
        ["add", "fail", "outer", "fail", "add"],
    ]
    assert told["immediate"] == [
        [list(step) for step in IMMEDIATE],
        ["add", "outer", "add"],
    ]
    assert (told["escaped"], told["lost"]) == ([], {})


def test_neighbours_see_the_same_with_and_without_us(
    keep: Callable[[Program], Program], tmp_path: Path
) -> None:
    bare = run(keep, tmp_path, NEIGHBOURS[:-1])
    with_us = run(keep, tmp_path, NEIGHBOURS)

    assert with_us["theirs"] == bare["theirs"]
    assert with_us["theirs"].keys() == {"sentry", "receiver", "hook"}


def run(
    keep: Callable[[Program], Program],
    directory: Path,
    order: list[str],
    **environ: str,
) -> Any:
    program = Program(
        *("-m", "tests.live.apps.neighbours", ",".join(order)),
        str(directory / "stats.db"),
        log=directory / "log",
        environ={},
    )
    keep(program)
    assert program.wait() == 0
    return json.loads(program.log.splitlines()[-1])
