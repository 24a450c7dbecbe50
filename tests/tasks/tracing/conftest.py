"""What tests of tracing share: a huey with a provider that keeps its spans."""

from collections.abc import Callable, Iterator

import pytest
from huey.api import Huey
from opentelemetry import context as contexts

from tests.support.recorded import Recorded
from tests.support.spans import Spans

Instrument = Callable[..., Recorded]


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
