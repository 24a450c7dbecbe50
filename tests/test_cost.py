"""The cost of telemetry for a task, in instructions, so a busy machine changes nothing.

The limits are ratios, which hardly differ between Pythons. Lower them at any time,
raise them only with a reason.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from huey import Huey, MemoryHuey
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from prometheus_client import CollectorRegistry

from benchmarks.floor import Spans
from huey_otel import instrument
from tests.support.instructions import instructions


@pytest.fixture
def provided() -> Iterator[Callable[[Sampler], TracerProvider]]:
    made: list[TracerProvider] = []

    def provide(sampler: Sampler) -> TracerProvider:
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
        made.append(provider)
        return provider

    yield provide
    for provider in made:
        provider.shutdown()


class Sides:
    """Both ends of a queue in memory."""

    def __init__(self, **settings: Any) -> None:
        self._huey: Huey = MemoryHuey("shop")
        self.produce = self._huey.task()(lambda: None)
        if settings:
            instrument(self._huey, registry=CollectorRegistry(), **settings)

    def work(self) -> None:
        self._huey.execute(self._huey.dequeue())


def costs(sides: Sides) -> tuple[float, float]:
    """The instructions of producing a task, and of working it off."""
    return instructions(sides.produce), instructions(sides.work)


@pytest.mark.parametrize(
    ("sampler", "producing", "working"),
    [
        pytest.param(ALWAYS_ON, 1.6, 2.15, id="sampled"),
        pytest.param(ALWAYS_OFF, 2.7, 3.5, id="not sampled"),
    ],
)
def test_a_traced_task_stays_in_its_bounds_of_bare_spans(
    sampler: Sampler,
    producing: float,
    working: float,
    provided: Callable[[Sampler], TracerProvider],
) -> None:
    bare, ours = costs(Sides()), costs(Sides(tracer_provider=provided(sampler)))
    floor = Spans(provided(sampler))

    produced = (ours[0] - bare[0]) / instructions(partial(floor.produce, {}))
    worked = (ours[1] - bare[1]) / instructions(floor.work)

    assert (produced <= producing, worked <= working) == (True, True), (
        f"{produced:.2f} times the span of an enqueue, {worked:.2f} of an attempt"
    )


def test_a_task_without_traces_stays_in_its_bounds() -> None:
    bare, ours = costs(Sides()), costs(Sides(tracebacks=True))

    produced, worked = ours[0] / bare[0], ours[1] / bare[1]

    assert (produced <= 3.0, worked <= 3.4) == (True, True), (
        f"{produced:.2f} times the enqueue of bare huey, {worked:.2f} its run"
    )
