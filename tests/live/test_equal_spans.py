"""Light spans and the SDK's own: an OTLP receiver cannot tell them apart."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from google.protobuf.json_format import MessageToDict

from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP
from tests.live.processes import Consumer, Program, losses

pytestmark = pytest.mark.once

SPANS = 36
"""Of enqueues, attempts, and those that the application makes itself."""

LIMITS = {
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "9",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "30",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "20",
    "OTEL_SPAN_EVENT_COUNT_LIMIT": "3",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "1",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "2",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "0",
}
OF_A_PROCESS = {"process.pid", "service.instance.id", "messaging.client.id"}
MOMENT = 1_000
"""Nanoseconds that only an application itself keeps to."""

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(
    keep: Callable[[Program], Program],
    consumer: Callable[..., Consumer],
    conn: redis.Redis,
    redis_url: str,
    tmp_path: Path,
) -> Run:
    """Runs all scenes, made by the *way*; the spans that arrived, by what they are."""

    def run(way: str, kind: str, protocol: str, **environ: str) -> dict[str, Any]:
        conn.flushall()
        environ |= {"LIVE_QUEUE_URL": redis_url} | way_of(way)
        if kind == "greenlet":
            environ["LIVE_PATCH"] = "first"
        requests: list[Any] = []
        with otlp.receiver(protocol) as receiver:
            receiver.forward = requests.append
            producer = Program(
                *("-c", "from tests.live.apps import scenes; scenes.enqueue_all()"),
                log=tmp_path / f"producer-{way}.log",
                environ=environ | receiver.environ,
            )
            keep(producer)
            assert producer.wait() == 0
            running = consumer(
                *(kind, "-w", "1", "-n", "-d", "0.02", "-m", "0.1"),
                application="scenes",
                OTEL_BSP_SCHEDULE_DELAY="100",
                LIVE_DROPPED=str(tmp_path / "dropped"),
                **environ,
                **receiver.environ,
            )
            assert receiver.wait(lambda spans: len(spans) >= SPANS)
            running.wait_until_started()
            running.stop(signal.SIGINT)
        assert losses(tmp_path / "dropped") == {}
        took = conn.get("way").decode()
        assert took.startswith("light" if way == "light" else "by the provider's")
        return without_chance(requests, running.pid)

    return run


def way_of(way: str) -> dict[str, str]:
    return {} if way == "light" else {"LIVE_BY_SDK": "1"}


def without_chance(requests: list[Any], pid: int) -> dict[str, Any]:
    """All of the spans but ids, times and pids, of which what they have in common."""
    spans = [*spans_of(requests)]
    names = {span["span_id"]: name(span) for span in spans}
    assert len(names) == len(set(names.values())) == SPANS
    for span in sorted(spans, key=name):
        names.setdefault(span["trace_id"], f"the trace of {name(span)}")
    return {name(span): told(span, names, pid) for span in spans}


def spans_of(requests: list[Any]) -> Iterator[dict[str, Any]]:
    for request in requests:
        told = MessageToDict(request, preserving_proto_field_name=True)
        for of_resource in told["resource_spans"]:
            for of_scope in of_resource["scope_spans"]:
                for span in of_scope.pop("spans"):
                    yield {**span, "scope": of_scope, "of": of_resource["resource"]}


def name(span: dict[str, Any]) -> str:
    values = {one["key"]: one["value"] for one in span.get("attributes", ())}
    message = values.get("messaging.message.id", {}).get("string_value")
    attempt = values.get("huey.task.attempt", {}).get("int_value")
    return f"{span['name']}, attempt {attempt} of {message}"


def told(span: dict[str, Any], names: dict[str, str], pid: int) -> dict[str, Any]:
    start, end = int(span["start_time_unix_nano"]), int(span["end_time_unix_nano"])

    def time(value: Any) -> object:
        at = int(value)
        if at < MOMENT:
            return at
        return at - start if at - start < MOMENT else start <= at <= end

    def plain(thing: Any, key: str = "") -> Any:
        if isinstance(thing, list):
            return [plain(one) for one in thing]
        if not isinstance(thing, dict):
            if key.endswith("_nano"):
                return time(thing)
            return names.get(thing, thing) if key.endswith("_id") else thing
        if thing.get("key") in OF_A_PROCESS:
            return thing["key"], str(pid) in str(thing["value"])
        if thing.get("key") == "huey.task.wait":
            return thing["key"], [*thing["value"]]
        return {key: plain(value, key) for key, value in thing.items()}

    return plain(span)


@pytest.mark.proof_but("process-http/protobuf-default", "thread-grpc-limits")
@pytest.mark.parametrize("environ", [{}, LIMITS], ids=["default", "limits"])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_receiver_gets_the_same_spans_either_way(
    run: Run, kind: str, protocol: str, environ: dict[str, str]
):
    light, by_the_sdk = (
        run(way, kind, protocol, **environ) for way in ("light", "by the SDK")
    )

    assert light == by_the_sdk


def test_a_receiver_gets_the_same_spans_of_greenlets_either_way(run: Run):
    light, by_the_sdk = (run(way, "greenlet", HTTP) for way in ("light", "by the SDK"))

    assert light == by_the_sdk
