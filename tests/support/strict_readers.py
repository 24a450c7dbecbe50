"""Readers that take nothing but what the formats allow."""

import json
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan
from prometheus_client.parser import text_string_to_metric_families

from huey_otel._wire.event import spell
from huey_otel._wire.record import Record, Source


def event_of(record: Record, source: Source) -> dict[str, Any]:
    """The event that *record* is, as another language's reader gets it.

    It is number 7 of a publisher `h1:42:1`.
    """
    return read_json(spell(record, source, "h1:42:1", 7).encode())


def read_json(body: bytes) -> dict[str, Any]:
    """The object that *body* is, by RFC 8259: UTF-8, and no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read: dict[str, Any] = json.loads(body.decode(), parse_constant=refuse)
    json.dumps(read, ensure_ascii=False).encode()
    return read


def encoded(spans: Sequence[ReadableSpan]) -> list[Span]:
    """*spans* as OTLP has them, without any attribute missing."""
    request = encode_spans(spans)
    found = [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert request.ByteSize() == len(request.SerializeToString())
    assert sorted(len(one.attributes) for one in found) == sorted(
        len(one.attributes or ()) for one in spans
    )
    return found


def labels_of(page: bytes) -> set[str]:
    """All values of labels on *page*."""
    return {
        value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        for value in sample.labels.values()
    }
