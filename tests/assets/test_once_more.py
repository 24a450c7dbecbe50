"""What fails in `make test` runs once more, alone, and is named."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROOT, bare_environment

ONLY_BESIDE_OTHERS = """
import pathlib

def test_it():
    seen = pathlib.Path("seen")
    assert seen.exists() and seen.read_text() == "before"
"""


def outcome(folder: Path, *, before: str) -> tuple[int, str]:
    """The second run's exit code and last lines, after a first with *before*."""
    environ = bare_environment() | {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "."],
        cwd=folder,
        env=environ,
        capture_output=True,
        check=False,
    )
    (folder / "seen").write_text(before)
    done = subprocess.run(
        [sys.executable, "-m", "tests.once_more", "-q"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("before", "code", "said"),
    [("before", 0, "PASSED ONLY ALONE"), ("after", 1, "FAILED AGAIN")],
)
def test_a_failure_is_run_again_and_named(
    before: str, code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "test_beside.py").write_text(ONLY_BESIDE_OTHERS)

    found, printed = outcome(tmp_path, before=before)

    assert found == code
    assert printed.endswith(f"{said}, a fault to mend:\n  test_beside.py::test_it\n")


def test_more_than_three_failures_are_not_run_again(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"test_{number}.py").write_text(ONLY_BESIDE_OTHERS)

    assert outcome(tmp_path, before="before") == (1, "4 failures: not run again\n")


def test_a_run_that_ended_without_a_failed_test_stays_failed(tmp_path: Path) -> None:
    assert outcome(tmp_path, before="before") == (1, "0 failures: not run again\n")
