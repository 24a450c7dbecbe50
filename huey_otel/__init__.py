"""Traces, metrics and consumer events for huey, the little task queue."""

from huey_otel import events
from huey_otel._emitter import RedisEventEmitter
from huey_otel._instrument import instrument, uninstrument
from huey_otel._instrumentation import Instrumentation
from huey_otel._listener import EventListener

__all__ = [
    "EventListener",
    "Instrumentation",
    "RedisEventEmitter",
    "events",
    "instrument",
    "uninstrument",
]
