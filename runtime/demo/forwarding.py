"""Forwarding: the demo's spans go on to where the user's own variables say."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import grpc
import requests
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.util.re import parse_env_headers

from runtime.otlp_receiver import GRPC, Request

PATIENCE = 2.0
"""Seconds that the user's collector has for an answer."""

MOST = 100
"""Requests that wait for their turn."""

Send = Callable[[Request], None]


class Forwarding:
    """Hands requests to *send* in a thread of its own, so that nobody waits.

    `endpoint` is where to; `delivered` and `failed` count requests, `why` is
    the last failure.
    """

    def __init__(self, endpoint: str, send: Send) -> None:
        self.endpoint = endpoint
        self.delivered = self.failed = 0
        self.why = ""
        self._send = send
        self._waiting: SimpleQueue[Request | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __call__(self, request: Request) -> None:
        """Forward *request* soon, unless too many wait already."""
        if self._waiting.qsize() < MOST:
            self._waiting.put(request)
        else:
            self.failed += 1

    def __str__(self) -> str:
        if self.failed:
            return f"{self.failed} requests did not reach {self.endpoint}: {self.why}"
        return f"The spans are at {self.endpoint}, too."

    def close(self) -> None:
        """Let what waits go out, if that does not take long."""
        self._waiting.put(None)
        self._thread.join(2 * PATIENCE)
        self.failed += max(0, self._waiting.qsize() - 1)

    def _run(self) -> None:
        while (request := self._waiting.get()) is not None:
            try:
                self._send(request)
                self.delivered += 1
            except requests.RequestException as error:
                self.failed, self.why = self.failed + 1, str(error)
            except grpc.RpcError as error:
                # What a call raises is a Call as well (grpc 1.60).
                self.failed, self.why = self.failed + 1, error.details()


@contextmanager
def forwarding(env: Mapping[str, str]) -> Iterator[Forwarding | None]:
    """Forward for the block to where *env* says; None if it names no endpoint."""
    endpoint = _of("ENDPOINT", env)
    if not endpoint:
        yield None
        return
    headers = dict(parse_env_headers(_of("HEADERS", env), liberal=True))
    port = urlsplit(endpoint).port
    protocol = _of("PROTOCOL", env) or (GRPC if port == 4317 else "")
    if protocol == GRPC:
        send = _over_grpc(endpoint, headers)
    else:
        if not env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            endpoint = f"{endpoint.rstrip('/')}/v1/traces"
        send = _over_http(endpoint, headers)
    forward = Forwarding(endpoint, send)
    try:
        yield forward
    finally:
        forward.close()


def _of(name: str, env: Mapping[str, str]) -> str:
    general = env.get(f"OTEL_EXPORTER_OTLP_{name}", "")
    return env.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or general


def _over_http(endpoint: str, headers: Mapping[str, str]) -> Send:
    given = {**headers, "Content-Type": "application/x-protobuf"}

    def send(request: Request) -> None:
        body = request.SerializeToString()
        answer = requests.post(endpoint, body, headers=given, timeout=PATIENCE)
        answer.raise_for_status()

    return send


def _over_grpc(endpoint: str, headers: Mapping[str, str]) -> Send:
    parts = urlsplit(endpoint)
    place = parts.netloc or endpoint
    if parts.scheme == "https":
        channel = grpc.secure_channel(place, grpc.ssl_channel_credentials())
    else:
        channel = grpc.insecure_channel(place)
    stub: Any = trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
    metadata = tuple(headers.items())

    def send(request: Request) -> None:
        stub.Export(request, timeout=PATIENCE, metadata=metadata)

    return send
