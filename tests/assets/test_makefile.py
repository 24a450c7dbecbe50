"""The Makefile: its paths exist, and a failure in any part of a proof fails it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import ROOT


@pytest.mark.parametrize(
    ("failing", "code"), [("-m proof", 2), ("-m not proof", 2), ("nothing", 0)]
)
def test_a_failure_in_either_half_of_the_matrix_fails_it(
    failing: str, code: int, tmp_path: Path
) -> None:
    for program in ("pytest", "python"):
        path = tmp_path / program
        path.write_text(f'#!/bin/sh\ncase "$*" in *"{failing}"*) exit 1;; esac\n')
        path.chmod(0o755)
    told = subprocess.run(
        [
            *("make", "-s", "-o", ".venv/.stamp", "matrix"),
            *(f"BIN={tmp_path}", f"PROOFS={tmp_path}"),
        ],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )

    assert told.returncode == code
    assert (tmp_path / "matrix.txt").exists()


def test_every_test_that_the_makefile_names_exists() -> None:
    named = re.findall(r"\btests/[\w/.]+", (ROOT / "Makefile").read_text())

    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
