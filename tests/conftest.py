"""Fixtures of all tests."""

import os
import signal
from collections.abc import Iterator

import pytest
from huey import MemoryHuey
from huey.api import Huey

from huey_otel._process.shared import shared
from huey_otel._safety.losses import LOSSES, Losses
from huey_otel._setup.instrumentation import INSTRUMENTATIONS
from huey_otel._tasks.attempt import running
from huey_otel._tasks.context import HERE
from tests.support.recorded import Drain, Recorded

SETTINGS = tuple(
    name
    for name in os.environ
    if name.startswith(("HUEY_OTEL_", "OTEL_", "PROMETHEUS_"))
)


def pytest_configure() -> None:
    """Let programs of the tests heed Ctrl-C.

    What a shell starts in the background ignores it, and so does what that starts.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave all but the named sets of parameters of `proof_but` to `make proof`."""
    for item in items:
        for marker in item.iter_markers("proof_but"):
            known = item.callspec.id  # type: ignore[attr-defined]  # only with parameters
            if known not in marker.args:
                item.add_marker(pytest.mark.proof)


@pytest.fixture(autouse=True)
def nothing_is_left(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Uninstrument all, and fail a test that left an attempt open or lost telemetry."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    # Consumers of tests do not compete for the default port.
    monkeypatch.setenv("HUEY_OTEL_METRICS_PORT", "0")
    LOSSES.reset()
    yield
    for instrumentation in list(INSTRUMENTATIONS):
        instrumentation.uninstrument()
    # A process that has run a consumer is taken for one for ever; a test ends.
    shared().consuming = False
    # What our guard swallowed, unless the test is about that.
    expected = "losses" in request.fixturenames or "live" in request.keywords
    lost = {} if expected else dict(LOSSES.counts())
    left = [
        attempt.facts.name
        for attempt in (*running.values(), *HERE.local.doing.attempts)
    ]
    HERE.renew()
    served = shared().page.endpoint
    assert (left, lost, served) == ([], {}, None)


@pytest.fixture
def losses() -> Losses:
    """The process' losses, for a test that is meant to have some."""
    return LOSSES


@pytest.fixture
def huey() -> Huey:
    return MemoryHuey("my-app")


@pytest.fixture
def seen(huey: Huey) -> Recorded:
    """Instruments `huey`, and collects what it says."""
    return Recorded(huey)


@pytest.fixture
def drain(huey: Huey) -> Drain:
    """Executes what `huey` has queued."""
    return Drain(huey)
