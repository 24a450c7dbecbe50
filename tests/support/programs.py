"""Programs of the tests: where they run, with what environment, and what they need."""

import itertools
import os
import random
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NoReturn

import huey
import pytest

ROOT = Path(__file__).parents[2]

needs_huey_3 = pytest.mark.skipif(
    huey.__version__.startswith("2."), reason="this huey is no newer than the other one"
)


def bare_environment() -> dict[str, str]:
    """An environment without the developer's variables, but for coverage."""
    measured = {k: v for k, v in os.environ.items() if k.startswith("COVERAGE_")}
    return {"PATH": os.defpath, "PYTHONPATH": str(ROOT), **measured}


def run_program(*parts: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run *parts* as one program, with only *environ* in its environment."""
    return subprocess.run(
        [sys.executable, "-c", "".join(map(textwrap.dedent, parts))],
        cwd=ROOT,
        env=bare_environment() | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def snippet(document: str, name: str) -> str:
    """The block of *document* that a comment before it calls *name*."""
    found = re.search(
        rf"<!-- run by a test: {name} -->\n```\w*\n(.*?)```",
        (ROOT / document).read_text(),
        re.DOTALL,
    )
    assert found is not None, f"{document} has no block {name}"
    return found[1]


def application_with(parent: Path, **modules: str) -> str:
    """Write *modules* of a package `app` to *parent*; the PYTHONPATH that has both."""
    package = parent / "app"
    package.mkdir()
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    return os.pathsep.join([str(parent), str(ROOT)])


# Below those that Linux gives to a program that asks for any: one of these that is
# free now may be another program's before it is used. Each of pytest's workers has
# a part.
_PORTS = range(10_000, 32_000)
_PARTS = 16


def _own_ports() -> list[int]:
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    part = int("".join(filter(str.isdigit, worker)) or 0) % _PARTS
    ports = [*_PORTS[part::_PARTS]]
    # Another run of the tests on this machine begins elsewhere.
    start = random.randrange(len(ports))
    return ports[start:] + ports[:start]


_own = itertools.cycle(_own_ports())


def free_port() -> int:
    """A loopback TCP port that is free, and that no other test is given meanwhile."""
    for port in _own:
        with socket.socket() as sock:
            # As the servers do: connections that are over do not count.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError


def missing(what: str) -> NoReturn:
    """Skip the test, which needs *what*; fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def other_huey(version: str) -> Path:
    """The directory that `make` put another huey in, for PYTHONPATH."""
    path = ROOT / ".hueys" / version
    if not (path / "huey").is_dir():
        missing(f"huey {version} (made by `make .hueys/{version}/.stamp`)")
    return path
