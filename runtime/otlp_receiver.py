"""An OTLP receiver on loopback sockets: decodes protobuf into plain spans.

The demo, the documentation's trees, the benchmarks and the tests use it. It serves
HTTP or gRPC, and its spans and metric points can be read at any time.
"""

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from opentelemetry.proto.trace.v1 import trace_pb2

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
_LOOPBACK: Final = "127.0.0.1"

MetricsRequest = metrics_service_pb2.ExportMetricsServiceRequest
Request = trace_service_pb2.ExportTraceServiceRequest
Response = trace_service_pb2.ExportTraceServiceResponse


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a span to another span; ids are hexadecimal."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """An event inside a span, such as an exception."""

    name: str
    time: int
    attributes: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A received span. Ids are hexadecimal, times nanoseconds since 1970.

    `parent_id` is None for a root. `kind` and `status` are OTLP's names, such
    as PRODUCER and ERROR; `resource` holds the attributes of the sender.
    """

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str | None
    links: tuple[Link, ...]
    status: str
    message: str
    attributes: dict[str, Any]
    events: tuple[Occurrence, ...]
    start: int
    end: int
    resource: dict[str, Any]

    @property
    def seconds(self) -> float:
        """The duration of the span."""
        return (self.end - self.start) / 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A received metric point: a counter's value, or a histogram's count."""

    name: str
    count: int
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Receiver:
    """Collects the spans of all requests that are sent to `endpoint`.

    `forward`, unless None, is called with each trace request.
    """

    def __init__(self, protocol: str, port: int) -> None:
        self.protocol = protocol
        self.forward: Callable[[Request], None] | None = None
        self.endpoint = f"http://{_LOOPBACK}:{port}"
        self._arrived = threading.Condition()
        self._spans: list[Span] = []
        self._points: list[Point] = []

    @property
    def environ(self) -> dict[str, str]:
        """The environment variables with which an OpenTelemetry SDK sends here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
        }

    @property
    def spans(self) -> list[Span]:
        """All spans received so far, in the order of their arrival."""
        with self._arrived:
            return list(self._spans)

    @property
    def points(self) -> list[Point]:
        """All metric points received so far; only HTTP receives them."""
        with self._arrived:
            return list(self._points)

    def wait(
        self, enough: Callable[[Sequence[Span]], bool], seconds: float = 10.0
    ) -> bool:
        """Wait until *enough* is true of the spans; False if *seconds* pass first."""
        deadline = time.monotonic() + seconds
        with self._arrived:
            while not enough(self._spans):
                if not self._arrived.wait(deadline - time.monotonic()):
                    return enough(self._spans)
        return True

    def take(self, request: Request) -> None:
        """Add the spans of *request*."""
        spans = list(_decoded(request))
        with self._arrived:
            self._spans += spans
            self._arrived.notify_all()
        if self.forward is not None:
            self.forward(request)

    def take_metrics(self, request: MetricsRequest) -> None:
        """Add the metric points of *request*."""
        points = list(_points(request))
        with self._arrived:
            self._points += points

    def clear(self) -> None:
        """Forget the spans received so far."""
        with self._arrived:
            self._spans.clear()


@contextmanager
def receiver(protocol: str = HTTP, *, port: int = 0) -> Iterator[Receiver]:
    """Receive over *protocol* on the loopback *port*; 0 picks a free one."""
    serve = {HTTP: _over_http, GRPC: _over_grpc}[protocol]
    with serve(port) as receiving:
        yield receiving


@contextmanager
def refusing(protocol: str = HTTP) -> Iterator[Receiver]:
    """Give an endpoint that refuses connections; the port stays reserved."""
    with socket.socket() as bound:
        bound.bind((_LOOPBACK, 0))
        yield Receiver(protocol, bound.getsockname()[1])


@contextmanager
def black_hole(protocol: str = HTTP) -> Iterator[Receiver]:
    """Give an endpoint that accepts connections and never answers."""
    with socket.create_server((_LOOPBACK, 0), backlog=128) as silent:
        yield Receiver(protocol, silent.getsockname()[1])


@contextmanager
def _over_http(port: int) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            known = self.path in ("/v1/traces", "/v1/metrics")
            if self.path == "/v1/traces":
                receiving.take(Request.FromString(body))
            elif known:
                receiving.take_metrics(MetricsRequest.FromString(body))
            answer = Response().SerializeToString()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_arguments: object) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        # server_close() would wait for clients that keep their connection open.
        block_on_close = False
        request_queue_size = 128

    with Server((_LOOPBACK, port), Handler) as server:
        receiving = Receiver(HTTP, server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiving
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _over_grpc(port: int) -> Iterator[Receiver]:
    class Service(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(  # noqa: N802 - the name is gRPC's
            self, request: Request, _context: object
        ) -> Response:
            receiving.take(request)
            return Response()

    server = grpc.server(ThreadPoolExecutor(4))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(Service(), server)
    receiving = Receiver(GRPC, server.add_insecure_port(f"{_LOOPBACK}:{port}"))
    server.start()
    try:
        yield receiving
    finally:
        server.stop(None).wait()


def _decoded(request: Request) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        resource = _plain(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _span(span, resource)


def _points(request: MetricsRequest) -> Iterator[Point]:
    for resource_metrics in request.resource_metrics:
        resource = _plain(resource_metrics.resource.attributes)
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind or "gauge").data_points:
                    yield Point(
                        name=metric.name,
                        count=point.count if kind == "histogram" else point.as_int,
                        attributes=_plain(point.attributes),
                        resource=resource,
                    )


def _span(span: trace_pb2.Span, resource: dict[str, Any]) -> Span:
    kind = trace_pb2.Span.SpanKind.Name(span.kind)
    status = trace_pb2.Status.StatusCode.Name(span.status.code)
    return Span(
        name=span.name,
        kind=kind.removeprefix("SPAN_KIND_"),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex() or None,
        links=tuple(
            Link(link.trace_id.hex(), link.span_id.hex(), _plain(link.attributes))
            for link in span.links
        ),
        status=status.removeprefix("STATUS_CODE_"),
        message=span.status.message,
        attributes=_plain(span.attributes),
        events=tuple(
            Occurrence(event.name, event.time_unix_nano, _plain(event.attributes))
            for event in span.events
        ),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        resource=resource,
    )


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
