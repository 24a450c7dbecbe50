"""The sink for spans: receives OTLP/HTTP, and counts spans by queue."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from benchmarks.children import answer

_SPANS: Counter[str] = Counter()
_LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Counts the spans of each request; its path begins with the queue."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Count the spans of one request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(body)
        number = sum(
            len(scope.spans)
            for resource in request.resource_spans
            for scope in resource.scope_spans
        )
        with _LOCK:
            _SPANS[self.path.split("/")[1]] += number
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


class Server(ThreadingHTTPServer):
    """Does not wait for clients that keep their connections open."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        answer(port=lambda: {"port": port}, spans=lambda: dict(_SPANS))
        server.shutdown()
