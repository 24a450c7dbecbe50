"""What telemetry is sent to: it counts OTLP's spans and Sentry's transactions.

It only counts, so that the measured programs never wait for it.
"""

import gzip
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)

from benchmarks.children import answer

_ARRIVED: Counter[str] = Counter()
_LOCK = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """Counts what each request has; its path begins with the queue."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Count the spans or transactions of one request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        count = _transactions if self.path.endswith("/envelope/") else _spans
        with _LOCK:
            _ARRIVED[self.path.split("/")[1]] += count(body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


def _spans(body: bytes) -> int:
    request = ExportTraceServiceRequest.FromString(body)
    return sum(
        len(scope.spans)
        for resource in request.resource_spans
        for scope in resource.scope_spans
    )


def _transactions(body: bytes) -> int:
    # An envelope has one at most, whose item begins with a line that says so.
    return int(b'\n{"type":"transaction"' in body)


class Server(ThreadingHTTPServer):
    """Does not wait for clients that keep their connections open."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        answer(port=lambda: {"port": port}, arrived=lambda: dict(_ARRIVED))
        server.shutdown()
