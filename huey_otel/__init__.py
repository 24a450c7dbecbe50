"""Traces, metrics and consumer events for huey, the little task queue."""

from huey_otel import events
from huey_otel._redis.listener import EventListener
from huey_otel._setup.instrument import instrument, uninstrument
from huey_otel._setup.instrumentation import Instrumentation
from huey_otel._storage.emitter import RedisEventEmitter

__all__ = [
    "EventListener",
    "Instrumentation",
    "RedisEventEmitter",
    "events",
    "instrument",
    "uninstrument",
]
