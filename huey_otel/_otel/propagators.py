"""OpenTelemetry's propagators, also where OTEL_PROPAGATORS names what is not there."""

import os
from types import ModuleType
from typing import Final

from opentelemetry.propagators.composite import CompositePropagator

from huey_otel._options.standard import blank, names, replaced, some_of
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.timeout import or_else

_VARIABLE: Final = "OTEL_PROPAGATORS"
_NONE: Final = "none"
_GROUP: Final = "opentelemetry_propagator"

wrong: list[str] = []
"""What is ignored of the variable, for people."""


def _imported() -> ModuleType:
    with replaced(blank()):
        from opentelemetry import propagate

    return propagate


def _in_spite_of(error: Exception) -> ModuleType:
    """Import it although it raised *error*, as it does for a propagator of no name."""
    raw = os.environ.get(_VARIABLE, "")
    unknown = some_of(_VARIABLE, raw, {_NONE, *names(_GROUP)})
    if unknown is not None:
        why, kept = unknown
        wrong.append(why)
        with replaced({_VARIABLE: kept}):
            return or_else(_imported, _without)
    return _without(error)


def _without(error: Exception) -> ModuleType:
    raw = os.environ.get(_VARIABLE, "")
    with replaced({_VARIABLE: None}):
        module = _imported()
    if _NONE in map(str.strip, raw.split(",")):
        # opentelemetry-api 1.30 does not know the word.
        module.set_global_textmap(CompositePropagator([]))
    else:
        why = f"{class_name(error)}: {message(error)}"
        wrong.append(f"{_VARIABLE}={raw!r}: expected what can be loaded, {why}")
    return module


_imported_here: Final = or_else(_imported, _in_spite_of)

# Behind what has imported it, whatever the variable says.
from opentelemetry import propagate as propagate  # noqa: E402
