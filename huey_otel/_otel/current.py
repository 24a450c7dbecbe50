"""OpenTelemetry's current context, and the span in one, without its API's own calls."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

# Where the API keeps it in its own way (opentelemetry-api 1.30 to 1.45), and no other
# one was chosen by OTEL_PYTHON_CONTEXT.
_runtime: Any = getattr(contexts, "_RUNTIME_CONTEXT", None)
_variable: Any = getattr(_runtime, "_current_context", None)
_is_known: Final = (
    type(_runtime) is ContextVarsRuntimeContext and type(_variable) is ContextVar
)

current: Final[Callable[[], Context]] = (
    _variable.get if _is_known else contexts.get_current
)
"""What `opentelemetry.context.get_current` returns."""

make_current: Final[Callable[[Context], object]] = (
    _variable.set if _is_known else contexts.attach
)
"""Make a context the current one, as `opentelemetry.context.attach` does.

One puts back the context before by this too, not by `detach`, which a task's timeout
may cut: it swallows that, and leaves the context as it is (opentelemetry-api 1.45).
"""

(_SPAN,) = trace.set_span_in_context(trace.INVALID_SPAN, Context())
SPANS: Final[set[type]] = {trace.NonRecordingSpan}
"""Classes that are known to be spans: the check for an abstract class takes long."""


def span_in(context: Context) -> trace.Span:
    """What `opentelemetry.trace.get_current_span` returns for *context*."""
    span: Any = context.get(_SPAN)
    if type(span) in SPANS or isinstance(span, trace.Span):
        return span  # type: ignore[no-any-return]
    return trace.INVALID_SPAN


def with_span(span: trace.Span, context: Context) -> Context:
    """What `opentelemetry.trace.set_span_in_context` returns."""
    return Context({**context, _SPAN: span} if context else {_SPAN: span})
