"""The spans that the demo receives: choose a trace, draw it, forward all of them."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import grpc
import requests
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.util.re import parse_env_headers

from runtime.otlp_receiver import GRPC, Request, Span

CHARGE = "runtime.shop.tasks.charge_card"
RECEIPT = "runtime.shop.tasks.send_receipt"

ANSWER_SECONDS = 2.0
"""Time that the user's collector has for an answer."""

MAX_WAITING = 100
"""Requests that may wait to be forwarded."""

Send = Callable[[Request], None]


def best_trace(spans: Iterable[Span]) -> list[Span]:
    """Choose the trace that shows most: a charge with a retry, and then a receipt.

    The latest, if there are several; the most similar, if there is none. Empty if
    there are no spans.
    """
    traces: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans:
        traces[span.trace_id].append(span)
    return max(traces.values(), key=_rank, default=[])


def _rank(trace: Sequence[Span]) -> tuple[bool, bool, int, int]:
    attempts = Counter(
        span.attributes.get("huey.task.name") for span in trace if is_attempt(span)
    )
    start = min(span.start for span in trace)
    return attempts[RECEIPT] > 0, attempts[CHARGE] > 1, len(trace), start


def branches(trace: Sequence[Span]) -> Iterator[tuple[str, Span]]:
    """Yield each span with the tree lines to its left, parents before children."""
    known = {span.span_id for span in trace}
    children: defaultdict[str | None, list[Span]] = defaultdict(list)
    for span in sorted(trace, key=lambda span: span.start):
        children[span.parent_id if span.parent_id in known else None].append(span)

    def below(parent: str | None, lines: str) -> Iterator[tuple[str, Span]]:
        for span in children[parent]:
            last = span is children[parent][-1]
            corner = "" if parent is None else "└─ " if last else "├─ "
            yield lines + corner, span
            bar = "" if parent is None else "   " if last else "│  "
            yield from below(span.span_id, lines + bar)

    return below(None, "")


def is_attempt(span: Span) -> bool:
    """Tell whether *span* is a task's attempt."""
    return span.attributes.get("messaging.operation.name") == "process"


class Forwarder:
    """Hands requests to *send* in a thread of its own, so that no caller waits.

    `endpoint` is the user's collector. `delivered` and `failed` count requests,
    `last_error` says why the last one failed.
    """

    def __init__(self, endpoint: str, send: Send) -> None:
        self.endpoint = endpoint
        self.delivered = self.failed = 0
        self.last_error = ""
        self._send = send
        self._waiting: SimpleQueue[Request | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __call__(self, request: Request) -> None:
        """Forward *request*; drop it if `MAX_WAITING` requests wait already."""
        if self._waiting.qsize() < MAX_WAITING:
            self._waiting.put(request)
        else:
            self.failed += 1

    def __str__(self) -> str:
        if self.failed:
            count = f"{self.failed} requests did not reach {self.endpoint}"
            return f"{count}: {self.last_error}"
        return f"The spans are at {self.endpoint}, too."

    def close(self) -> None:
        """Send the requests that still wait, for at most twice `ANSWER_SECONDS`."""
        self._waiting.put(None)
        self._thread.join(2 * ANSWER_SECONDS)
        self.failed += max(0, self._waiting.qsize() - 1)

    def _run(self) -> None:
        while (request := self._waiting.get()) is not None:
            try:
                self._send(request)
                self.delivered += 1
            except requests.RequestException as error:
                self.failed, self.last_error = self.failed + 1, str(error)
            except grpc.RpcError as error:
                # The error that a call raises is the call itself (grpc 1.60).
                self.failed, self.last_error = self.failed + 1, error.details()


@contextmanager
def forwarding(env: Mapping[str, str]) -> Iterator[Forwarder | None]:
    """Forward, within the block, to the endpoint in *env*; None if it names none."""
    endpoint = _setting("ENDPOINT", env)
    if not endpoint:
        yield None
        return
    headers = dict(parse_env_headers(_setting("HEADERS", env), liberal=True))
    port = urlsplit(endpoint).port
    protocol = _setting("PROTOCOL", env) or (GRPC if port == 4317 else "")
    if protocol == GRPC:
        send = _over_grpc(endpoint, headers)
    else:
        if not env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
            endpoint = f"{endpoint.rstrip('/')}/v1/traces"
        send = _over_http(endpoint, headers)
    forwarder = Forwarder(endpoint, send)
    try:
        yield forwarder
    finally:
        forwarder.close()


def _setting(name: str, env: Mapping[str, str]) -> str:
    general = env.get(f"OTEL_EXPORTER_OTLP_{name}", "")
    return env.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or general


def _over_http(endpoint: str, headers: Mapping[str, str]) -> Send:
    all_headers = {**headers, "Content-Type": "application/x-protobuf"}

    def send(request: Request) -> None:
        body = request.SerializeToString()
        answer = requests.post(
            endpoint, body, headers=all_headers, timeout=ANSWER_SECONDS
        )
        answer.raise_for_status()

    return send


def _over_grpc(endpoint: str, headers: Mapping[str, str]) -> Send:
    parts = urlsplit(endpoint)
    target = parts.netloc or endpoint
    if parts.scheme == "https":
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials())
    else:
        channel = grpc.insecure_channel(target)
    stub: Any = trace_service_pb2_grpc.TraceServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
    metadata = tuple(headers.items())

    def send(request: Request) -> None:
        stub.Export(request, timeout=ANSWER_SECONDS, metadata=metadata)

    return send
