"""An OTLP receiver on loopback sockets: decodes protobuf into plain spans.

The demo, the documentation's trees, the benchmarks and the tests use it. It serves
HTTP or gRPC, and its spans, log records and metric points can be read at any time.
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
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1 import (
    logs_service_pb2,
    logs_service_pb2_grpc,
)
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import (
    trace_service_pb2,
    trace_service_pb2_grpc,
)
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

HTTP: Final = "http/protobuf"
GRPC: Final = "grpc"
_LOOPBACK: Final = "127.0.0.1"
_HTTP_CODES: Final = {
    "INVALID_ARGUMENT": 400,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}

LogsRequest = logs_service_pb2.ExportLogsServiceRequest
LogsResponse = logs_service_pb2.ExportLogsServiceResponse
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A received log record. Ids are hexadecimal, times nanoseconds since 1970.

    `trace_id` and `span_id` are empty outside of a trace. `severity` is OTLP's name,
    such as INFO; `resource` holds the attributes of the sender, `scope` its name.
    """

    event_name: str
    severity: str
    severity_text: str
    body: Any
    time: int
    observed: int
    trace_id: str
    span_id: str
    flags: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How spans and log records are answered: late, by a refusal, without some.

    `seconds` is how late. `refusal` is the name of a gRPC status that has a code in
    HTTP as well. `rejected` is the number of items of each request that are not taken.
    `closes` ends the connection instead of answering.
    """

    seconds: float = 0.0
    refusal: str = ""
    rejected: int = 0
    message: str = ""
    closes: bool = False


class Receiver:
    """Collects the spans of all requests that are sent to `endpoint`.

    `forward`, unless None, is called with each trace request; `answer` says how such
    a request is answered, and may be exchanged.
    """

    def __init__(self, protocol: str, port: int) -> None:
        self.protocol = protocol
        self.forward: Callable[[Request], None] | None = None
        self.answer = Answer()
        self.endpoint = f"http://{_LOOPBACK}:{port}"
        self._arrived = threading.Condition()
        self._spans: list[Span] = []
        self._points: list[Point] = []
        self._logs: list[Log] = []

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

    @property
    def logs(self) -> list[Log]:
        """All log records received so far, in the order of their arrival."""
        with self._arrived:
            return list(self._logs)

    def wait(
        self, enough: Callable[[Sequence[Span]], bool], seconds: float = 60.0
    ) -> bool:
        """Wait until *enough* is true of the spans; False if *seconds* pass first."""
        return self._wait(lambda: enough(self._spans), seconds)

    def wait_for_logs(
        self, enough: Callable[[Sequence[Log]], bool], seconds: float = 60.0
    ) -> bool:
        """Wait likewise for log records."""
        return self._wait(lambda: enough(self._logs), seconds)

    def _wait(self, enough: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        with self._arrived:
            while not enough():
                if not self._arrived.wait(deadline - time.monotonic()):
                    return enough()
        return True

    def take(self, request: Request) -> tuple[Answer, Response]:
        """Add the spans of *request*, and say how to answer."""
        answer, response = self.answer, Response()
        time.sleep(answer.seconds)
        if answer.refusal or answer.closes:
            return answer, response
        spans = list(_decoded(request))
        rejected = min(answer.rejected, len(spans))
        del spans[:rejected]
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = answer.message
        with self._arrived:
            self._spans += spans
            self._arrived.notify_all()
        if self.forward is not None:
            self.forward(request)
        return answer, response

    def take_logs(self, request: LogsRequest) -> tuple[Answer, LogsResponse]:
        """Add the log records of *request*, and say how to answer."""
        answer, response = self.answer, LogsResponse()
        time.sleep(answer.seconds)
        if answer.refusal or answer.closes:
            return answer, response
        records = list(_logs(request))
        rejected = min(answer.rejected, len(records))
        del records[:rejected]
        response.partial_success.rejected_log_records = rejected
        response.partial_success.error_message = answer.message
        with self._arrived:
            self._logs += records
            self._arrived.notify_all()
        return answer, response

    def take_metrics(self, request: MetricsRequest) -> None:
        """Add the metric points of *request*."""
        points = list(_points(request))
        with self._arrived:
            self._points += points

    def clear(self) -> None:
        """Forget the spans and log records received so far."""
        with self._arrived:
            self._spans.clear()
            self._logs.clear()


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
            code, response = 200, Response().SerializeToString()
            if self.path in ("/v1/traces", "/v1/logs"):
                answer, taken = self.take(body)
                self.close_connection = answer.closes
                if answer.closes:
                    return
                response = taken.SerializeToString()
                if answer.refusal:
                    code = _HTTP_CODES[answer.refusal]
                    response = Status(message=answer.message).SerializeToString()
            elif self.path == "/v1/metrics":
                receiving.take_metrics(MetricsRequest.FromString(body))
            else:
                code = 404
            self.send_response(code)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(response)))
            self.end_headers()
            self.wfile.write(response)

        def take(self, body: bytes) -> tuple[Answer, Response | LogsResponse]:
            if self.path == "/v1/logs":
                return receiving.take_logs(LogsRequest.FromString(body))
            return receiving.take(Request.FromString(body))

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
            self, request: Request, context: grpc.ServicerContext
        ) -> Response:
            answer, response = receiving.take(request)
            _abort(context, answer)
            return response

    class LogsService(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(  # noqa: N802 - the name is gRPC's
            self, request: LogsRequest, context: grpc.ServicerContext
        ) -> LogsResponse:
            answer, response = receiving.take_logs(request)
            _abort(context, answer)
            return response

    server = grpc.server(ThreadPoolExecutor(4))
    add: Any = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
    add(Service(), server)
    add = logs_service_pb2_grpc.add_LogsServiceServicer_to_server
    add(LogsService(), server)
    receiving = Receiver(GRPC, server.add_insecure_port(f"{_LOOPBACK}:{port}"))
    server.start()
    try:
        yield receiving
    finally:
        server.stop(None).wait()


def _abort(context: grpc.ServicerContext, answer: Answer) -> None:
    """End the call if *answer* is a refusal."""
    refusal = "UNAVAILABLE" if answer.closes else answer.refusal
    if refusal:
        context.abort(grpc.StatusCode[refusal], answer.message)


def _decoded(request: Request) -> Iterator[Span]:
    for resource_spans in request.resource_spans:
        resource = _plain(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _span(span, resource)


def _logs(request: LogsRequest) -> Iterator[Log]:
    for resource_logs in request.resource_logs:
        resource = _plain(resource_logs.resource.attributes)
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                yield _log(record, resource, scope_logs.scope.name)


def _log(record: logs_pb2.LogRecord, resource: dict[str, Any], scope: str) -> Log:
    severity = logs_pb2.SeverityNumber.Name(record.severity_number)
    return Log(
        event_name=record.event_name,
        severity=severity.removeprefix("SEVERITY_NUMBER_"),
        severity_text=record.severity_text,
        body=_value(record.body),
        time=record.time_unix_nano,
        observed=record.observed_time_unix_nano,
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        flags=record.flags,
        attributes=_plain(record.attributes),
        resource=resource,
        scope=scope,
    )


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
