"""Batches: no request is larger than a collector takes, and none is cut in vain."""

import random
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceState

from huey_otel._otel import batches as _batches
from huey_otel._otel.batches import LARGEST, batches

CONTEXT = SpanContext(1, 2, is_remote=False, trace_state=TraceState([("a", "b" * 99)]))


def span(name: str = "one", *, text: str = "", **attributes: Any) -> ReadableSpan:
    return ReadableSpan(
        name,
        CONTEXT,
        parent=CONTEXT,
        attributes=BoundedAttributes(attributes={"text": text, **attributes}),
        resource=RESOURCE,
        instrumentation_scope=SCOPE,
        start_time=2**63,
        end_time=2**63,
    )


RESOURCE = Resource({"service.name": "my-app" * 20}, "https://schema")
SCOPE = InstrumentationScope("tests" * 20, "1")


def names(spans: list[ReadableSpan]) -> list[list[str]]:
    return [[one.name for one in batch] for batch in batches(spans)]


def test_usual_spans_stay_together():
    spans = [span(text="x" * 500) for _ in range(512)]

    assert [len(batch) for batch in batches(spans)] == [512]
    assert list(batches([])) == []


def test_a_large_span_comes_last_and_alone():
    large = "x" * LARGEST

    assert names([span("a"), span("b", text=large), span("c")]) == [["a", "c"], ["b"]]


def test_a_span_that_cannot_be_read_costs_no_other_its_place():
    class Broken(ReadableSpan):
        @property
        def attributes(self):
            raise RuntimeError

    assert names([span("a"), Broken("b", CONTEXT), span("c")]) == [["a", "c"], ["b"]]


def test_large_spans_are_sent_in_order_as_many_as_fit():
    third = "x" * (LARGEST // 3)

    assert names([span(f"{at}", text=third) for at in range(5)]) == [
        ["0", "1"],
        ["2", "3"],
        ["4"],
    ]


def test_no_span_is_larger_than_its_bound():
    chance = random.Random(1)

    def text() -> str:
        letters = chance.choices("aéж😀", k=chance.choice([0, 5, 150, 3000]))
        return "k" + "".join(letters)

    def value() -> Any:
        return chance.choice(
            [
                *(text(), True, 1.5, 2**63 - 1, -(2**63), (text(),) * 3),
                *((1, 2, 3), (-1,) * 200, (True,) * 99, (0.5,) * 9, b"\xff" * 50),
            ]
        )

    def attributes() -> dict[str, Any]:
        return {text(): value() for _ in range(chance.randrange(30))}

    def odd() -> ReadableSpan:
        return ReadableSpan(
            text(),
            CONTEXT,
            parent=CONTEXT,
            attributes=attributes(),
            events=[Event(text(), attributes(), 2**63) for _ in range(2)],
            links=[Link(CONTEXT, attributes()) for _ in range(2)],
            status=Status(StatusCode.ERROR, text()),
            resource=Resource(attributes(), text()),
            instrumentation_scope=InstrumentationScope(text(), text()),
            start_time=2**63,
            end_time=2**63,
        )

    spans = [odd() for _ in range(100)]
    sizes = [len(encode_spans([one]).SerializeToString()) for one in spans]
    bounds = [_batches._size(one, {}) for one in spans]

    assert [one for one in zip(sizes, bounds, strict=True) if one[0] > one[1]] == []
