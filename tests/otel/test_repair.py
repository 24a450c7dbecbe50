"""A span that OTLP cannot say is mended, or lost alone; its neighbours arrive."""

import contextlib
import logging
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import Link, SpanContext, Status, StatusCode
from opentelemetry.util.types import Attributes

from huey_otel._otel.exporter import CountingExporter
from huey_otel._otel.repair import encodable_resource, repaired
from huey_otel._otel.span_counts import SPANS, SpanCounts
from huey_otel._safety.losses import Losses
from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Receiver

RESOURCE = Resource({})
ODD, SAID = "party \ud83c", "party \\ud83c"
AT = 1_700_000_000_000_000_000


def span(
    name: object = "good",
    *,
    attributes: Attributes = None,
    status: Status | None = None,
    start: int = AT,
    end: int = AT + 5,
    links: tuple[Link, ...] = (),
    event: str | None = None,
    event_attributes: Attributes = None,
) -> ReadableSpan:
    provider = TracerProvider(shutdown_on_exit=False)
    made = provider.get_tracer("application").start_span(
        name,  # type: ignore[arg-type]  # odd ones are what this is about
        attributes=attributes,
        start_time=start,
        links=links,
    )
    if event is not None:
        made.add_event(event, event_attributes, timestamp=start)
    if status is not None:
        made.set_status(status)
    made.end(end)
    assert isinstance(made, ReadableSpan)
    return made


ENCODER = "opentelemetry.exporter.otlp.proto.common._internal"

Make = Callable[[], ReadableSpan]

MENDED = [
    pytest.param(lambda: span(ODD), id="name"),
    pytest.param(lambda: span(7), id="a number as name"),
    pytest.param(lambda: span("bad", event=ODD), id="event"),
    pytest.param(
        lambda: span("bad", status=Status(StatusCode.ERROR, ODD)), id="description"
    ),
    pytest.param(lambda: span("bad", start=-5, end=-1), id="before 1970"),
    pytest.param(lambda: span("bad", end=2**64), id="after 2554"),
    pytest.param(lambda: span("bad", attributes={"file": ODD}), id="attribute"),
    pytest.param(lambda: span("bad", attributes={ODD: 1}), id="attribute's name"),
    pytest.param(lambda: span("bad", attributes={"n": 2**64}), id="large number"),
    pytest.param(
        lambda: span("bad", event="odd", event_attributes={"what": ODD}),
        id="event's attribute",
    ),
]


@pytest.fixture(params=[HTTP, GRPC])
def exporter(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[CountingExporter, Receiver]]:
    """What exports over OTLP, and what gets it."""
    with otlp.receiver(request.param) as receiver:
        for name, value in receiver.environ.items():
            monkeypatch.setenv(name, value)
        made = CountingExporter(lambda: _exporter_of(request.param), RESOURCE)
        yield made, receiver
        made.shutdown()


def _exporter_of(protocol: str) -> SpanExporter:
    if protocol == HTTP:
        from opentelemetry.exporter.otlp.proto.http import trace_exporter as http

        return http.OTLPSpanExporter()
    from opentelemetry.exporter.otlp.proto.grpc import trace_exporter as grpc

    return grpc.OTLPSpanExporter()


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> SpanCounts:
    fresh = SpanCounts()
    monkeypatch.setattr(SPANS, "here", fresh)
    return fresh


@pytest.mark.parametrize("bad", MENDED)
def test_a_span_that_can_be_mended_arrives_with_all_others(exporter, counts, bad: Make):
    exports, receiver = exporter
    spans = [span(), bad(), span()]
    for _ in spans:
        next(counts.ended)

    exports.export(spans)

    receiver.wait(lambda got: len(got) >= 3)
    assert sorted(one.span_id for one in receiver.spans) == sorted(
        f"{one.context.span_id:016x}" for one in spans
    )
    assert counts.left == 0


def test_what_is_mended_says_the_same_as_far_as_it_can_be_said(exporter):
    exports, receiver = exporter
    other = SpanContext(5, 6, is_remote=True)
    odd = {ODD: ODD, "large": 2**70, "list": ["a", ODD], "good": "ü", "size": 3}
    bad = span(
        ODD,
        attributes=odd,
        links=(Link(other, odd),),
        event=ODD,
        event_attributes=odd,
        status=Status(StatusCode.ERROR, ODD),
    )

    exports.export([bad])

    (arrived,) = receiver.spans
    said = {SAID: SAID, "list": ["a", SAID], "good": "ü", "size": 3}
    assert (arrived.name, arrived.attributes) == (SAID, said)
    assert [(one.name, one.attributes) for one in arrived.events] == [(SAID, said)]
    assert [one.attributes for one in arrived.links] == [said]


@pytest.mark.parametrize("disabled", [False, True])
def test_an_odd_attribute_of_a_good_span_arrives_mended_and_is_not_logged(
    exporter, losses: Losses, caplog, monkeypatch, disabled
):
    exports, receiver = exporter
    # As `logging.config` leaves loggers that it does not know.
    monkeypatch.setattr(logging.getLogger(ENCODER), "disabled", disabled)

    exports.export([span(attributes={"file": "caf\udce9", "n": 2**64, "size": 3})])

    (arrived,) = receiver.spans
    assert arrived.attributes == {"file": "caf\\udce9", "size": 3}
    assert losses.counts() == {}
    assert [one for one in caplog.records if one.name == ENCODER] == []


def test_a_span_that_cannot_be_mended_is_lost_alone(exporter, counts, losses: Losses):
    exports, receiver = exporter
    bad = span("bad")
    bad._context = SpanContext(1, 2**64, is_remote=False)
    for _ in range(3):
        next(counts.ended)

    exports.export([span(), bad, span()])

    receiver.wait(lambda got: len(got) >= 2)
    assert [one.name for one in receiver.spans] == ["good", "good"]
    assert losses.counts() == {"spans_unencodable": 1}
    assert counts.left == 0


def test_spans_that_cannot_be_mended_are_logged_once_a_streak(
    exporter, losses: Losses, caplog
):
    exports, receiver = exporter
    bad = span("bad")
    bad._context = SpanContext(1, 2**64, is_remote=False)

    exports.export([bad])
    exports.export([bad])
    exports.export([span()])
    exports.export([bad])

    told = "a span cannot be encoded: OverflowError (counted as spans_unencodable)"
    assert [one for one in caplog.messages if "(counted as" in one] == [told, told]
    assert [one.name for one in receiver.spans] == ["good"]
    assert losses.counts() == {"spans_unencodable": 3}


def test_a_batch_that_can_be_encoded_has_nothing_to_repair():
    assert repaired([span(), span("ü", attributes={"good": "ü"})]) is None


def test_a_collector_that_is_away_is_no_matter_of_repair(
    counts, losses: Losses, monkeypatch
):
    with otlp.receiver(HTTP) as receiver:
        environ = receiver.environ
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    exports = CountingExporter(lambda: _exporter_of(HTTP), RESOURCE)

    for _ in range(2):
        next(counts.ended)
    exports.export([span(), span()])

    exports.shutdown()
    assert losses.counts() == {"spans": 2}


def test_a_resource_is_made_of_what_can_be_said(caplog):
    odd = Resource({"service.name": "caf\udce9", "large": 2**70, "pid": 7})

    with caplog.at_level(logging.DEBUG), contextlib.suppress(LookupError):
        made = encodable_resource(odd)

    assert dict(made.attributes) == {"service.name": "caf\\udce9", "pid": 7}


def test_a_resource_that_can_be_said_is_left_as_it_is():
    good = Resource({"service.name": "café", "args": ["a", "b"], "share": 0.5})

    assert encodable_resource(good) is good
