"""The counting exporter: made late, losses counted, one log line a streak."""

import itertools
import logging
import os
import threading
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import SpanContext

from huey_otel._otel.exporter import CountingExporter, give_up
from huey_otel._otel.flusher import Flusher
from huey_otel._otel.span_counts import SPANS, SpanCounts
from huey_otel._otel.span_queue import CountingProcessor
from huey_otel._safety import forks
from huey_otel._safety.losses import Losses
from tests.support.forks import fork

LOGGER = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")


RESOURCE = Resource({})
SPAN = ReadableSpan("one", SpanContext(1, 2, is_remote=False))


class Failing(SpanExporter):
    """Fails until told otherwise, and logs that like OTLP's exporters."""

    fails = True

    def export(self, spans):
        if self.fails == "raises":
            raise OSError("no route")
        if self.fails:
            for attempt in range(3):
                LOGGER.warning("Transient error %d", attempt)
            LOGGER.error("Failed to export: %s", "refused")
            return SpanExportResult.FAILURE
        LOGGER.info("delivered")
        return SpanExportResult.SUCCESS


@pytest.fixture(autouse=True)
def counts(monkeypatch) -> SpanCounts:
    """The counts of a process that has ended no span yet."""
    fresh = SpanCounts()
    monkeypatch.setattr(SPANS, "here", fresh)
    return fresh


def export(counting: CountingExporter, number: int) -> SpanExportResult:
    """End *number* spans, and export them."""
    for _ in range(number):
        next(SPANS.here.ended)
    return counting.export([SPAN] * number)


def test_failing_exports_are_logged_once_a_streak_and_counted(caplog, losses: Losses):
    caplog.set_level(logging.INFO)
    exporter = Failing()
    counting = CountingExporter(lambda: exporter, RESOURCE)

    export(counting, 3)
    export(counting, 2)
    exporter.fails = False
    export(counting, 1)
    exporter.fails = True
    export(counting, 1)

    assert losses.counts() == {"spans": 6}
    told = (
        "spans could not be delivered: Failed to export: refused;"
        " before that: Transient error 2 (counted as spans)"
    )
    assert caplog.messages == [
        told,
        "delivered",
        "spans are delivered again",
        told,
    ]


def test_what_other_threads_and_exporters_log_is_not_held_back(caplog, losses: Losses):
    class Slow(Failing):
        def export(self, spans):
            other = threading.Thread(target=LOGGER.error, args=("from elsewhere",))
            other.start()
            other.join()
            return super().export(spans)

    export(CountingExporter(Slow, RESOURCE), 1)
    LOGGER.error("the application's own exporter")

    assert [m for m in caplog.messages if "counted" not in m] == [
        "from elsewhere",
        "the application's own exporter",
    ]


def test_the_spans_of_an_exporter_that_raises_are_counted(losses: Losses):
    exporter = Failing()
    exporter.fails = "raises"

    result = export(CountingExporter(lambda: exporter, RESOURCE), 2)

    assert result is SpanExportResult.FAILURE
    assert losses.counts() == {"spans": 2}


@pytest.fixture
def stuck(counts) -> Iterator[TracerProvider]:
    """A provider whose exporter hangs until the test is over."""
    go_on = threading.Event()

    class Stuck(SpanExporter):
        def export(self, spans):
            go_on.wait(10)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    exporter = CountingExporter(Stuck, RESOURCE)
    provider.add_span_processor(CountingProcessor(exporter))
    yield provider
    go_on.set()
    provider.shutdown()


def test_spans_left_at_the_end_are_counted_once(stuck, losses: Losses, caplog):
    tracer = stuck.get_tracer("tests")
    for _ in range(3):
        tracer.start_span("one").end()

    assert not Flusher().flush(stuck).wait(0.05)
    give_up()
    give_up()

    assert losses.counts() == {"spans": 3}
    (message,) = caplog.messages
    assert message.startswith("spans were not delivered in time: ")


def test_exported_and_failed_spans_are_not_left(counts, losses: Losses):
    exporter = Failing()
    processor = CountingProcessor(CountingExporter(lambda: exporter, RESOURCE))
    provider = TracerProvider(shutdown_on_exit=False, sampler=_TwoOfThree())
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("tests")

    def end_spans(number: int) -> None:
        for _ in range(number):
            tracer.start_span("one").end()

    end_spans(6)
    processor.force_flush()
    exporter.fails = False
    end_spans(3)
    processor.force_flush()
    failed, left = dict(losses.counts()), counts.left
    end_spans(3)
    waiting = counts.left
    provider.shutdown()

    assert (failed, left, waiting, counts.left) == ({"spans": 4}, 0, 2, 0)
    # A parent that was not told of the failures would miss these.
    assert counts.missing == 4


class _TwoOfThree(Sampler):
    """Samples all but each third span."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def should_sample(self, *_: object, **__: object) -> SamplingResult:
        if next(self._numbers) % 3:
            return SamplingResult(Decision.RECORD_AND_SAMPLE)
        return SamplingResult(Decision.RECORD_ONLY)

    def get_description(self) -> str:
        return "two of three"


def test_a_child_makes_its_own_exporter_while_its_parent_still_makes_one(monkeypatch):
    monkeypatch.setattr(forks, "_PATIENCE", 0.05)
    made: list[int] = []
    begun, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def make() -> SpanExporter:
        if os.getpid() == parent:
            begun.set()
            go_on.wait(30)
        made.append(os.getpid())
        return Failing()

    counting = CountingExporter(make, RESOURCE)
    making = threading.Thread(target=counting.start)
    making.start()
    assert begun.wait(5)

    def deliver() -> None:
        export(counting, 1)
        if made != [os.getpid()]:
            os._exit(9)

    code = fork(deliver).join()
    go_on.set()
    making.join()
    counting.start()

    assert (code, made) == (0, [parent])


def test_an_exporter_that_could_not_be_made_is_made_at_the_next_export(
    losses: Losses, caplog
):
    def make() -> SpanExporter:
        if not losses.counts():
            raise OSError("no credentials yet")
        exporter = Failing()
        exporter.fails = False
        return exporter

    counting = CountingExporter(make, RESOURCE)

    results = [export(counting, 2), export(counting, 1)]

    assert results == [SpanExportResult.FAILURE, SpanExportResult.SUCCESS]
    assert losses.counts() == {"spans": 2}
    assert caplog.messages[0] == (
        "spans could not be delivered: OSError: no credentials yet (counted as spans)"
    )
