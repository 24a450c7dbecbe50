"""huey's own test-suite does not notice that its hueys are instrumented."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import ROOT, missing, other_huey
from tests.support.redis_server import server_binary

pytestmark = pytest.mark.once

INSTALLED = importlib.metadata.version("huey")
VERSIONS = [INSTALLED] if INSTALLED.startswith("2.") else [INSTALLED, "2.6.0"]


@pytest.fixture(scope="module")
def own_network() -> list[str]:
    """The command that gives another command a network namespace of its own."""
    flags = "-n" if os.geteuid() == 0 else "-rn"
    command = ["unshare", flags]
    if shutil.which("unshare") is None:
        missing("unshare")
    if subprocess.run([*command, "true"], check=False).returncode != 0:
        missing(f"permission for unshare {flags}")
    if server_binary() is None:
        missing("a Redis server")
    return command


def run_suite(
    own_network: list[str], version: str, cwd: Path, *options: str
) -> dict[str, Any]:
    paths = [ROOT] if version == INSTALLED else [other_huey(version), ROOT]
    done = subprocess.run(
        [*own_network, sys.executable, "-m", "tests.live.huey_suite", *options],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    sys.stderr.write(done.stderr)
    assert done.returncode == 0
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


@pytest.mark.timeout(1500)
@pytest.mark.proof_but(VERSIONS[0])
@pytest.mark.parametrize("version", VERSIONS)
def test_huey_passes_its_own_tests_when_instrumented(
    version: str, own_network: list[str], tmp_path: Path
) -> None:
    bare = run_suite(own_network, version, tmp_path)
    instrumented = run_suite(own_network, version, tmp_path, "--instrument")

    assert instrumented == bare
    assert bare["run"] > 150
