"""What tests of `huey-otel check` share: the command, and an application to check.

Fixtures, for a conftest to import.
"""

import datetime
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from huey_otel.cli.main import main
from huey_otel.cli.target import PASSWORD_VARIABLE
from tests.support.programs import ROOT, bare_environment

CHECKED = "tests.live.apps.checked"
APPLICATION = f"{CHECKED}.huey"


@dataclass(frozen=True)
class Told:
    """What the command has printed, and its exit code."""

    code: int
    findings: list[dict[str, Any]]
    looked_at: list[list[str]]

    @property
    def found(self) -> dict[str, str]:
        """The levels of what was found, by code."""
        return {
            one["code"]: one["level"] for one in self.findings if not one["cannot_tell"]
        }

    @property
    def unknown(self) -> set[str]:
        """What could not be told."""
        return {one["code"] for one in self.findings if one["cannot_tell"]}

    def text(self, code: str) -> str:
        """What it says of *code*."""
        (text,) = [one["text"] for one in self.findings if one["code"] == code]
        return str(text)


NOTHING: tuple[dict[str, str], set[str]] = ({}, set())


def told(code: int, output: str) -> Told:
    """The Told in what `--json` has printed."""
    shown = json.loads(output)
    return Told(code, shown["findings"], shown["looked_at"])


@pytest.fixture
def check(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Told]:
    """Runs `huey-otel check` in this process."""
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)

    def check(*arguments: str) -> Told:
        capsys.readouterr()
        code = main(["check", *arguments, "--json"])
        return told(code, capsys.readouterr().out)

    return check


@pytest.fixture
def check_apart(redis_url: str) -> Callable[..., Told]:
    """Runs it in a process of its own, with only *environ* in its environment."""

    def check(*arguments: str, pythonpath: str = str(ROOT), **environ: str) -> Told:
        known = {"LIVE_QUEUE_URL": redis_url, "HUEY_OTEL_METRICS_PORT": "0"}
        done = subprocess.run(
            [sys.executable, "-m", "huey_otel", "check", *arguments, "--json"],
            cwd=ROOT,
            env=bare_environment() | known | environ | {"PYTHONPATH": pythonpath},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.stdout, done.stderr
        return told(done.returncode, done.stdout)

    return check


@pytest.fixture
def checked(
    monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> Iterator[Callable[..., ModuleType]]:
    """Imports `tests/live/apps/checked.py` again, as the environment says."""
    loaded: list[ModuleType] = []

    def load(**environ: str) -> ModuleType:
        for variable, value in ({"LIVE_QUEUE_URL": redis_url} | environ).items():
            monkeypatch.setenv(variable, value)
        sys.modules.pop(CHECKED, None)
        loaded.append(importlib.import_module(CHECKED))
        return loaded[-1]

    yield load
    for module in loaded:
        if module.instrumentation is not None:
            module.instrumentation.uninstrument()
        pool = getattr(module.huey.storage, "pool", None)
        if pool is not None:
            pool.disconnect()
        else:
            module.huey.storage.close()
    sys.modules.pop(CHECKED, None)


@pytest.fixture
def ago(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calls a function in the past: it reads clocks that are so many seconds slow."""

    def ago(seconds: float, call: Callable[[], Any]) -> Any:
        real = time.time
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda: real() - seconds)
            return call()

    return ago


def schedule(task: Any, seconds: float) -> None:
    """Put *task* on its huey's schedule, as due so many seconds ago."""
    huey = sys.modules[CHECKED].huey
    task.eta = huey._get_timestamp() - datetime.timedelta(seconds=seconds)
    huey.add_schedule(task)
