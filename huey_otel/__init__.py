"""Traces, metrics and consumer events for huey, the little task queue."""

from importlib import import_module
from typing import TYPE_CHECKING

from huey_otel import events
from huey_otel._hooks.constants import offer_constants

__all__ = [
    "EventListener",
    "Instrumentation",
    "RedisEventEmitter",
    "events",
    "instrument",
    "uninstrument",
]

offer_constants()

if TYPE_CHECKING:
    from huey_otel._redis.listener import EventListener
    from huey_otel._setup.instrument import instrument, uninstrument
    from huey_otel._setup.instrumentation import Instrumentation
    from huey_otel._storage.emitter import RedisEventEmitter
else:
    # A name is imported at its first use: who reads events needs no OpenTelemetry.
    _MODULES = {
        "EventListener": "_redis.listener",
        "Instrumentation": "_setup.instrumentation",
        "RedisEventEmitter": "_storage.emitter",
        "instrument": "_setup.instrument",
        "uninstrument": "_setup.instrument",
    }

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module(f"{__name__}.{_MODULES[name]}")
        return globals().setdefault(name, getattr(module, name))

    def __dir__() -> list[str]:
        return __all__
