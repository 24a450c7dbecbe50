"""What tests of tracing share: a huey with a provider that keeps its spans."""

from collections.abc import Callable, Iterator

import pytest
from huey.api import Huey
from opentelemetry import context as contexts

from huey_otel._otel import light
from tests.support.recorded import Recorded
from tests.support.spans import Kept, Spans

Instrument = Callable[..., Recorded]


@pytest.fixture(params=["light", "by the SDK"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each test twice: nothing here can tell how its spans are made."""
    plain = {Kept} if request.param == "light" else set()
    monkeypatch.setattr(light, "PLAIN", plain)


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture(autouse=True)
def nothing_stays_current() -> Iterator[None]:
    before = contexts.get_current()
    yield
    assert contexts.get_current() == before


@pytest.fixture
def seen(huey: Huey, spans: Spans) -> Recorded:
    return Recorded(huey, tracer_provider=spans.provider)


@pytest.fixture
def instrumented(huey: Huey, spans: Spans) -> Instrument:
    """Instruments `huey` with options."""

    def instrumented(**options: object) -> Recorded:
        return Recorded(huey, tracer_provider=spans.provider, **options)

    return instrumented
