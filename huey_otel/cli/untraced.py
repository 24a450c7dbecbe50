"""Untraced: what this command does makes no spans of another instrumentation's."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from huey_otel import _names as n


@contextmanager
def untraced(*, imports: bool = False) -> Iterator[None]:
    """Suppress instrumentation in this thread, and have nothing sampled meanwhile.

    Unless an application is imported meanwhile (*imports*), or was before, nothing can
    be traced, and OpenTelemetry is not needed.
    """
    if not imports and "opentelemetry" not in sys.modules:
        yield
        return
    from opentelemetry import context as contexts
    from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

    # opentelemetry-instrumentation-redis 0.51b0 does not look whether it is suppressed.
    unsampled = SpanContext(trace_id=1, span_id=1, is_remote=False)
    context = set_span_in_context(NonRecordingSpan(unsampled), contexts.Context())
    token = contexts.attach(
        contexts.set_value(n.SUPPRESS_INSTRUMENTATION, value=True, context=context)
    )
    try:
        yield
    finally:
        contexts.detach(token)
