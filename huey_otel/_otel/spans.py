"""Spans of ours: started in one of two ways, and ended by one function.

A light span (see `light`) where nothing can tell it from the SDK's own, else what the
tracer of the provider makes, whichever that is. The SDK is not imported here.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    ProxyTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    TracerProvider,
)

from huey_otel._otel.current import with_span
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.timeout import or_else

Describe = Callable[..., tuple[str, dict[str, Any]]]
"""Makes the name and the attributes of a span, of the values kept at its start."""

Started = tuple[Span, SpanContext]
"""A span that has begun, and its ids."""

Say = Callable[..., None]
"""Sets on a span, its first argument, what is known at its end."""

ROOT: Final = Context()
"""The context in which nothing is current, but for a parent that is given with it."""

new_ids: Final[Callable[[tuple[Any, ...]], SpanContext]] = (
    partial(tuple.__new__, SpanContext)
    if tuple(SpanContext(1, 2, is_remote=True)) == (1, 2, True, 0, {}, True)
    else lambda parts: SpanContext(*parts[:-1])
)
"""Makes valid ids of all their parts, in half the time: nothing is checked again."""

IS_VALID: Final = 5
"""Where ids, which are a tuple, say whether they are valid."""

_SDK: Final = "opentelemetry.sdk.trace"


class SpanStarter:
    """Starts spans with *tracer*; `why_not` lightly, None if they are light."""

    def __init__(self, tracer: Tracer, why_not: str | None) -> None:
        self._tracer = tracer
        self.why_not = why_not

    @property
    def way(self) -> str:
        """How spans are started, and if not lightly why, for people."""
        if self.why_not is None:
            return "light"
        return f"by the provider's tracer: {self.why_not}"

    def start(
        self,
        describe: Describe,
        values: tuple[Any, ...],
        kind: SpanKind,
        parent: SpanContext | None,
        context: Context | None,
        links: Sequence[Link] = (),
        began: int | None = None,
    ) -> Started:
        """Start a span that says what *describe* makes of *values*.

        *parent* is what is current in *context*, or to be put there if that is ROOT;
        a context of None is the current one. *began* in nanoseconds, None for now.
        """
        name, attributes = describe(*values)
        span = self._tracer.start_span(
            name,
            context=with_parent(parent, context),
            kind=kind,
            attributes=attributes,
            links=links,
            start_time=began,
        )
        return span, span.get_span_context()

    def lets_cross(self, span: Span, reader: int) -> bool:
        """Whether the process *reader* may export *span* instead of this one."""
        return False


def load() -> None:
    """Import what light spans need, if the application has imported the SDK."""
    if _SDK in sys.modules:
        from huey_otel._otel import crossing  # noqa: F401


def starter_of(provider: TracerProvider, tracer: Any) -> SpanStarter:
    """What starts spans with *tracer*, which *provider* has made."""
    if isinstance(provider, ProxyTracerProvider):
        return SpanStarter(tracer, "no tracer provider was set yet")
    sdk = sys.modules.get(_SDK)
    if sdk is None or type(provider) is not sdk.TracerProvider:
        kind = type(provider)
        why = f"{kind.__module__}.{kind.__qualname__} is not the SDK's own"
        return SpanStarter(tracer, why)

    def light() -> SpanStarter:
        load()
        from huey_otel._otel.light import LightTracer

        return LightTracer(provider, tracer)

    return or_else(
        light,
        lambda error: SpanStarter(tracer, f"{class_name(error)}: {message(error)}"),
    )


def with_parent(parent: SpanContext | None, context: Context | None) -> Context | None:
    """*context*, with *parent* in it."""
    if parent is None or context is not ROOT:
        return context
    return with_span(NonRecordingSpan(parent), context)


def close(span: Span, at: int | None, say: Say | None = None, *said: Any) -> None:
    """Let *span* say what *say* does with *said*; end it at that time, unless None."""
    lightly = getattr(type(span), "close_lightly", None)
    if lightly is not None and lightly(span, at, say, said):
        return
    if span.is_recording():
        if say is not None:
            say(span, *said)
        if at is not None:
            span.end(at)
