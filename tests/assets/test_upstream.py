"""docs/upstream: what other projects are told is of their form, and true."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import yaml

from tests.support.programs import ROOT
from tests.support.redis_server import RedisServer, serving

UPSTREAM = ROOT / "docs/upstream"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    yield from serving()


def test_entry_of_the_registry_is_this_project() -> None:
    entry = yaml.safe_load((UPSTREAM / "instrumentation-python-huey.yml").read_text())

    assert entry["package"] == {
        "registry": "pip",
        "name": PROJECT["name"],
        "version": PROJECT["version"],
    }
    assert entry["urls"] == {
        "repo": PROJECT["urls"]["Source"],
        "docs": PROJECT["urls"]["Documentation"],
    }
    assert entry["license"] == PROJECT["license"]


def test_what_huey_is_told_to_write_runs() -> None:
    text = (UPSTREAM / "huey-monitoring.rst").read_text()
    (block,) = re.findall(r"code-block:: python\n\n((?:    .*\n|\n)+)", text)
    names: dict[str, Any] = {}

    exec(re.sub(r"^    ", "", block, flags=re.M), names)

    # Which only an instrumented storage has.
    assert callable(names["huey"].storage.listener)


def test_a_child_hangs_at_the_lock_of_redis_py(server: RedisServer) -> None:
    text = (UPSTREAM / "redis-py-locks.md").read_text()
    _, every_time, _ = re.findall(r"```python\n(.*?)```", text, re.S)

    told = subprocess.run(
        [sys.executable, "-c", every_time, str(server.port)],
        capture_output=True,
        check=True,
        text=True,
    )

    if told.stdout == "the child had its answer\n":
        pytest.skip(f"redis-py {redis.__version__} has mended it: delete the text")
    assert told.stdout == "the child hung\n"
    assert re.search(r"line \d+ in (reset|get_connection)\n", told.stderr)


def test_every_text_is_listed_and_no_other() -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", (UPSTREAM / "README.md").read_text(), re.M)

    there = {path.name for path in UPSTREAM.iterdir() if path.name != "README.md"}
    assert set(listed) == there
