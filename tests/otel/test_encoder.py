"""The encoder of light spans makes the same request as the SDK's."""

import functools
import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.exporter.otlp.proto.common._internal import (
    trace_encoder as internal,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    Decision,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState

from huey_otel._otel.attributes import conclude
from huey_otel._otel.batches import LARGEST, batches
from huey_otel._otel.encoder import encode_spans, light_bytes, with_light_encoder
from huey_otel._otel.light import is_untouched
from huey_otel._otel.provider import ResolvedProvider
from huey_otel._otel.spans import close
from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP
from tests.support import vendors_exporter

AT = 1_700_000_000_000_000_000
TRACE, SPAN = 0x0102030405060708090A0B0C0D0E0F10, 0x1112131415161718
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
VENDORS = TraceState([("dd", "s:2"), ("es", "ü")])

Make = Callable[..., Any]


class Attributing(Sampler):
    """Samples all, and adds an attribute."""

    def should_sample(self, *_: Any, attributes: Any = None, **__: Any) -> Any:
        return SamplingResult(Decision.RECORD_AND_SAMPLE, {"sampler": "mine"})

    def get_description(self) -> str:
        return "mine"


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a light span that has ended."""
    providers: list[TracerProvider] = []

    @functools.cache
    def resolved(**options: Any) -> ResolvedProvider:
        provider = TracerProvider(shutdown_on_exit=False, **options)
        provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
        providers.append(provider)
        return ResolvedProvider(provider, "to a test")

    def make(
        *,
        attributes: dict[str, Any] | None = None,
        name: str = "process add",
        kind: SpanKind = SpanKind.CONSUMER,
        parent: SpanContext | None = None,
        links: tuple[Link, ...] = (),
        said: tuple[Any, ...] = (),
        began: int = AT,
        ended: int = AT + 5,
        meanwhile: Callable[[], object] = bool,
        **of_provider: Any,
    ) -> Any:
        def describe() -> tuple[str, dict[str, Any]]:
            meanwhile()
            return name, dict(attributes or {})

        spans = resolved(**of_provider).spans
        span, _ = spans.start(*(describe, (), kind, parent, None, links, began))
        close(span, ended, conclude if said else None, *said)
        assert is_untouched(span)
        return span

    yield make
    for provider in providers:
        provider.shutdown()


def remote(state: TraceState | None = None) -> SpanContext:
    return SpanContext(TRACE, SPAN, True, SAMPLED, state)  # noqa: FBT003


LOCAL = SpanContext(TRACE, SPAN, False, SAMPLED)  # noqa: FBT003


def by_span(request: Any) -> dict[bytes, tuple[Any, Any, Any]]:
    """Each span of *request* by its id, with its scope's and its resource's parts."""
    return {
        span.span_id: (
            span,
            (of_scope.scope, of_scope.schema_url),
            (of_resource.resource, of_resource.schema_url),
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    }


LIGHTLY: dict[str, dict[str, Any]] = {
    "nothing": {},
    **{f"kind {kind.name}": {"kind": kind} for kind in SpanKind},
    "a parent": {"parent": LOCAL},
    "a parent elsewhere": {"parent": remote()},
    "a trace state": {"parent": remote(VENDORS)},
    "a name that is long": {"name": "é" * 8_000},
    "texts": {"attributes": {"a": "x", "b": "", "c": "ж" * 100, "d": "y" * 16_000}},
    "numbers": {
        "attributes": {
            "zero": 0,
            "one": 1,
            "minus": -1,
            "most": 2**63 - 1,
            "least": -(2**63),
            "float": 0.5,
            "minus zero": -0.0,
            "inf": math.inf,
            "none": 0.0,
        }
    },
    "booleans": {"attributes": {"true": True, "false": False}},
    "an outcome": {"said": ("success", None, None)},
    "an outcome that was known before": {
        "attributes": {"huey.task.outcome": "revoked", "a": 1},
        "said": ("success", None, None),
    },
    "what a sampler adds": {"sampler": Attributing()},
    "at the first moment": {"began": 0, "ended": 0},
    "at the last moment": {"began": 1, "ended": 2**64 - 1},
}
BY_THE_SDK: dict[str, dict[str, Any]] = {
    "a failure": {"said": ("error", ("ValueError", "no", "Traceback"), AT)},
    "a failure without a message": {"said": ("error", ("ValueError", None, None), AT)},
    "a link": {"links": (Link(remote(VENDORS), {"why": "retry"}),)},
    "a list": {"attributes": {"list": ("a", "b")}},
    "a text that is too long": {"attributes": {"text": "x" * 20_000}},
    "no key": {"attributes": {"": "x", "a": "b"}},
    "too many attributes": {
        "attributes": {"a": 1, "b": 2},
        "span_limits": SpanLimits(max_span_attributes=1),
    },
    "too long attributes": {
        "attributes": {"a": "long"},
        "span_limits": SpanLimits(max_span_attribute_length=2),
    },
}


@pytest.mark.parametrize("what", [*LIGHTLY, *BY_THE_SDK])
def test_a_request_is_the_same_as_the_sdk_s(make: Make, what: str) -> None:
    resource = Resource({"service.name": "é", "process.pid": 7})
    options = {"resource": resource, **{**LIGHTLY, **BY_THE_SDK}[what]}
    spans = [make(), make(**options), make(**options), make(**options)]

    made = encode_spans(spans)

    # The first of each resource has become the SDK's, for its resource and its scope.
    assert [is_untouched(span) for span in spans[2:]] == 2 * [what in LIGHTLY]
    known = by_span(trace_encoder.encode_spans(spans))
    assert by_span(made) == known
    assert len(known) == 4


def test_the_application_s_own_spans_are_in_the_request(make: Make) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("application", "3.1")
    own: list[Any] = [tracer.start_span(name) for name in ("first", "second")]
    for span in own:
        span.end()
    spans = [own[0], make(), own[1], make()]

    made = encode_spans(spans)

    assert is_untouched(spans[3])
    assert by_span(made) == by_span(trace_encoder.encode_spans(spans))


class Dice(random.Random):
    """Rolls parts of spans, most of which our encoder can encode."""

    def text(self) -> str:
        size = self.choice((0, 1, 12, 60, self.randrange(100, 140)))
        text = "".join(self.choices("aж\n€😀\0", k=size))
        return text * self.choice((1,) * 19 + (300,))

    def value(self) -> Any:
        rare = (b"\xff", ("a", "b"), (1, 2), [], None, {"a": 1}, SpanKind.CLIENT, 2**63)
        return self.choice(
            [
                self.text(),
                self.text(),
                self.random() < 0.5,
                self.choice((0.0, -math.inf, self.random())),
                self.choice((1, -1)) * self.getrandbits(self.randrange(1, 64)),
                self.choice((0, 127, 128, 2**63 - 1, -(2**63))),
                self.choice(rare) if self.random() < 0.1 else "often",
            ]
        )

    def attributes(self) -> dict[str, Any]:
        keys = ["a", "b", "huey.task.outcome", "error.type", self.text(), self.text()]
        return {key: self.value() for key in self.sample(keys, self.randrange(6))}

    def ids(self) -> SpanContext:
        state = TraceState([("a", "1"), ("b", "e" * self.randrange(1, 200))])
        return SpanContext(
            *(self.getrandbits(128), self.getrandbits(64), self.random() < 0.5),
            *(SAMPLED, self.choice((None, TraceState(), state))),
        )

    def span(self) -> dict[str, Any]:
        """The options of a span."""
        moments = (0, AT, 2**63, 2**64 - 1)
        failure = "ValueError", self.choice((None, self.text())), None
        return {
            "attributes": self.attributes(),
            "name": self.text(),
            "kind": self.choice([*SpanKind]),
            "parent": self.choice((None, self.ids())),
            "links": self.choice(((),) * 9 + ((Link(self.ids(), {"why": "x"}),),)),
            "said": self.choice(
                [
                    (),
                    ("success", None, None),
                    (self.text(), None, None),
                    ("error", failure, AT),
                ]
            ),
            "began": self.choice(moments),
            "ended": self.choice(moments),
        }


RESOURCES = [Resource({"service.name": name}) for name in ("é", "x", "x")]
LIMITS = [None] * 6 + [SpanLimits(max_attributes=3), SpanLimits(max_attribute_length=9)]


@pytest.mark.parametrize("seed", range(3))
def test_spans_at_random_arrive_as_the_sdk_sends_them(make: Make, seed: int) -> None:
    dice, lightly = Dice(seed), 0
    for _ in range(60):
        spans = []
        for _ in range(dice.randrange(1, 9)):
            limits = dice.choice(LIMITS)
            span = make(
                **dice.span(),
                resource=dice.choice(RESOURCES),
                **({} if limits is None else {"span_limits": limits}),
            )
            if dice.random() < 0.1:
                assert span.attributes is not None
            lightly += light_bytes(span) is not None
            spans.append(span)
        if dice.random() < 0.1:
            spans *= 8
        split = list(batches(spans))
        made = list(map(encode_spans, split))
        assert max(map(ExportTraceServiceRequest.ByteSize, made)) < LARGEST
        assert [*map(by_span, made)] == [
            by_span(trace_encoder.encode_spans(batch)) for batch in split
        ]
        assert sum(map(number_of_spans, made)) == len(spans)
    # Else nothing of ours was compared.
    assert lightly > 40


def number_of_spans(request: Any) -> int:
    return sum(
        len(of_scope.spans)
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
    )


@pytest.mark.parametrize(
    "said", [("success", None, None), ("error", ("ValueError", "no", None), AT)]
)
def test_a_span_that_is_touched_meanwhile_loses_nothing(make: Make, said: Any) -> None:
    untouched: list[Any] = []

    def touch() -> None:
        # As another thread may.
        if untouched:
            assert untouched.pop().attributes["a"] == 1

    span = make(attributes={"a": 1}, said=said, meanwhile=touch)
    untouched.append(span)
    spans = [make(), span]

    made = encode_spans(spans)

    assert untouched == []
    assert by_span(made) == by_span(trace_encoder.encode_spans(spans))


def test_what_another_sdk_says_of_a_span_is_said_of_all(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = internal._encode_span

    def of_another_sdk(span: Any) -> Any:
        encoded = encode(span)
        encoded.flags |= SAMPLED
        return encoded

    monkeypatch.setattr(internal, "_encode_span", of_another_sdk)
    spans = [make() for _ in range(3)]

    made = encode_spans(spans)

    assert {span.flags for span, *_ in by_span(made).values()} == {0x101}
    assert by_span(made) == by_span(trace_encoder.encode_spans(spans))


def test_no_spans_are_an_empty_request() -> None:
    assert encode_spans([]) == trace_encoder.encode_spans([])


@pytest.mark.parametrize(
    "options",
    [
        {"attributes": {"text": "\ud83c"}},
        {"name": "\ud83c"},
        {"attributes": {"number": 2**63}},
        {"began": -1},
    ],
    ids=str,
)
def test_what_the_sdk_cannot_encode_is_left_to_it(make: Make, options: Any) -> None:
    assert light_bytes(make(**options)) is None


def test_a_span_that_was_touched_is_left_to_the_sdk(make: Make) -> None:
    span = make(attributes={"a": 1})
    assert light_bytes(span) is not None

    assert span.attributes == {"a": 1}

    assert light_bytes(span) is None
    assert not any("huey" in name for name in vars(span))


@pytest.mark.parametrize(
    ("protocol", "kind"), [(HTTP, HttpExporter), (GRPC, GrpcExporter)]
)
def test_the_exporters_of_otlp_encode_lightly(
    make: Make, protocol: str, kind: Any
) -> None:
    spans = [make(attributes={"number": number}) for number in range(3)]
    with otlp.receiver(protocol) as receiver:
        endpoint = receiver.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
        path = "/v1/traces" if protocol == HTTP else ""
        exporter = with_light_encoder(kind(endpoint=endpoint + path))
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        exporter.shutdown()
        arrived = receiver.spans

    assert [is_untouched(span) for span in spans] == [False, True, True]
    assert [span.attributes for span in arrived] == [
        {"number": 0},
        {"number": 1},
        {"number": 2},
    ]


def test_an_exporter_with_its_own_encoder_keeps_it() -> None:
    class Own(HttpExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

        def _serialize_spans(self, spans: Any) -> bytes:
            return b""

    exporter = Own(endpoint="http://127.0.0.1:1")
    before = dict(vars(exporter))

    assert with_light_encoder(exporter) is exporter
    assert exporter.export([]) is SpanExportResult.SUCCESS
    assert vars(exporter) == before


@pytest.mark.parametrize("kind", [HttpExporter, GrpcExporter])
def test_a_method_that_another_library_replaces_later_is_called(
    make: Make, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = (
        name
        for name, method in vars(kind).items()
        if "encode_spans" in getattr(getattr(method, "__code__", None), "co_names", ())
    )
    exporter = with_light_encoder(kind(endpoint="http://127.0.0.1:1"))
    monkeypatch.setattr(kind, name, lambda _self, spans: len(spans))

    assert getattr(exporter, name)([make(), make()]) == 2
    exporter.shutdown()


def test_another_vendor_s_exporter_reads_the_globals_of_its_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exporter = with_light_encoder(vendors_exporter.VendorsExporter())
    monkeypatch.setattr(vendors_exporter, "TOKEN", "renewed")

    assert exporter.export([]) == ("renewed", 0)
