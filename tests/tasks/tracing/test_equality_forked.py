"""Spans of forked workers: made by the main process, they say what the worker's say."""

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from huey_otel._otel import light
from huey_otel._wire.client import CLIENT
from tests.support.workers import Main
from tests.tasks.tracing.test_equality import PROVIDERS, SCENES, provided, revoke, said

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def way() -> None:
    """Each test takes both ways itself."""


@pytest.fixture(autouse=True)
def consuming(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are workers of this process, and have its client id."""
    monkeypatch.setattr(CLIENT, "_consumes", True)


@pytest.mark.parametrize("propagation", ["child", "link"])
@pytest.mark.parametrize("options", PROVIDERS.values(), ids=PROVIDERS)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.usefixtures("losses")
def test_the_main_process_makes_the_span_that_the_worker_would_have_made(
    scene: Any,
    options: Any,
    propagation: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    spans, exporters = [], []
    for plain in ({BatchSpanProcessor}, set()):
        monkeypatch.setattr(light, "PLAIN", plain)
        path = tmp_path / str(len(plain))
        main = Main(path, provided(**options()), said, propagation=propagation)
        scene(main.huey)()
        main.work()
        lines = main.close()
        spans.append([line for _, _, line in lines])
        exporters.append({by for by, _, line in lines if is_attempt(line)})

    assert spans[0] == spans[1]
    # Nothing is exported where nothing is sampled; what is revoked never started.
    assert exporters[0] <= ({"worker"} if scene is revoke else {"main"})


def is_attempt(line: str) -> bool:
    return line.startswith("{'name': 'process")
