"""The public names as a type checker of a user sees them; nothing runs this."""

from collections.abc import Iterator
from typing import assert_type

from huey import RedisHuey
from huey.api import Task
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

import huey_otel
from huey_otel import (
    EventListener,
    Instrumentation,
    RedisEventEmitter,
    events,
    instrument,
    uninstrument,
)
from huey_otel.events import Event
from huey_otel.testing import Telemetry, capture

huey = RedisHuey("shop")

assert_type(instrument(huey), Instrumentation)


def by_task(task: Task) -> str:
    """Choose the propagation of one task."""
    return "link" if task.eta else "child"


with instrument(
    huey,
    events=RedisEventEmitter(url="redis://localhost"),
    channel=None,
    tracer_provider=TracerProvider(),
    propagation=by_task,
    registry=CollectorRegistry(),
    metrics_port=None,
    duration_buckets=[0.1, 1, 10],
) as instrumentation:
    assert_type(instrumentation.flush(), bool)

instrument(huey, propagation="auto", link_after=60, events=None)
instrument(huey, events="redis,otlp", logger_provider=LoggerProvider())
instrument(huey, events="redis://localhost", metrics_port="off", tracebacks="no")
# What is no option, or of another type, is an error before anything runs.
instrument(huey, chanel="shop")  # type: ignore[call-arg]
instrument(huey, metrics_port=9464.0)  # type: ignore[arg-type]
huey_otel.instruments(huey)  # type: ignore[attr-defined]
uninstrument(huey)

with EventListener("redis://localhost", "shop") as listener:
    assert_type(iter(listener), Iterator[Event])
    assert_type((listener.missed, listener.repeated), tuple[int, int])
    for event in listener:
        assert_type(event["status"], str)
        if event["status"] == events.EVENT_STARTED:
            break

with EventListener("redis://localhost", "shop", stream=True, since="10m") as listener:
    assert_type(iter(listener), Iterator[Event])
    assert_type((listener.position, listener.trimmed), tuple[str | None, int | None])
EventListener("redis://localhost", "shop", stream="app:events", since=None)
EventListener("redis://localhost", "shop", since=600)  # type: ignore[arg-type]
instrument(huey, stream=True)
instrument(huey, stream=50_000)
instrument(huey, stream=0.5)  # type: ignore[arg-type]

with capture(huey) as telemetry:
    assert_type(telemetry, Telemetry)
