"""OpenTelemetry's propagators, also if OTEL_PROPAGATORS names unknown ones.

`opentelemetry.propagate` raises for such a name while it is imported.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Final

from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator

from huey_otel._options.otel_variables import blank, names, replaced, some_of
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.timeout import or_else

_VARIABLE: Final = "OTEL_PROPAGATORS"
_NONE: Final = "none"

ignored: list[str] = []
"""What is ignored of the variable, for people."""


def _import() -> None:
    with replaced(blank()):
        from opentelemetry import propagate  # noqa: F401


def _import_known(error: Exception) -> None:
    """Import it with those that are installed: *error* is about another."""
    raw = os.environ.get(_VARIABLE, "")
    unknown = some_of(_VARIABLE, raw, {_NONE, *names("opentelemetry_propagator")})
    if unknown is None:
        return _import_default(error)
    why, known = unknown
    ignored.append(why)
    with replaced({_VARIABLE: known}):
        return or_else(_import, _import_default)


def _import_default(error: Exception) -> None:
    raw = os.environ.get(_VARIABLE, "")
    with replaced({_VARIABLE: None}):
        _import()
    if _NONE in map(str.strip, raw.split(",")):
        # opentelemetry-api 1.30 does not know the word.
        from opentelemetry import propagate

        propagate.set_global_textmap(CompositePropagator([]))
    else:
        why = f"{class_name(error)}: {message(error)}"
        ignored.append(f"{_VARIABLE}={raw!r}: expected what can be loaded, {why}")


or_else(_import, _import_known)

from opentelemetry import propagate as propagate  # noqa: E402

# What `inject` and `extract` use (opentelemetry-api 1.30 to 1.45).
_NAME: Final = "_HTTP_TEXT_FORMAT"

global_textmap: Final[Callable[[], TextMapPropagator]] = (
    partial(getattr, propagate, _NAME)
    if getattr(propagate, _NAME, None) is propagate.get_global_textmap()
    else propagate.get_global_textmap
)
"""What `opentelemetry.propagate.get_global_textmap` returns, without a Python call."""
