"""A proxy before a collector that sends a client that is not logged in to a page."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runtime.otlp_receiver import HTTP, Receiver


@contextmanager
def redirecting(code: int) -> Iterator[Receiver]:
    """Give an endpoint that answers each request with the redirection *code*."""

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(code, Location="/login")

        def do_GET(self) -> None:
            self.answer(200)

        def answer(self, code: int, **headers: str) -> None:
            self.send_response(code)
            for name, value in ({"Content-Length": "0"} | headers).items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Receiver(HTTP, server.server_port)
        finally:
            server.shutdown()
            thread.join()
