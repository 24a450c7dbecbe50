"""HUEY_OTEL: the arguments of `instrument` for each queue, in Django's settings."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured

from huey_otel._options.table import OPTIONS, nearest
from huey_otel._safety.redaction import shown

SETTING: Final = "HUEY_OTEL"
_QUEUES: Final = "queues"


def read(
    given: object, queues: Collection[str | None]
) -> dict[str | None, dict[str, Any]]:
    """The arguments of `instrument` for each of *queues*, as *given* has them.

    Keys are those arguments, and `queues`: by the name that DJANGO_HUEY gives
    a queue, the arguments that differ there. Raises ImproperlyConfigured for
    anything else.
    """
    common = _checked(given, SETTING, OPTIONS, also=_QUEUES)
    known = [queue for queue in queues if queue is not None]
    inside = f"{SETTING}[{_QUEUES!r}]"
    named = _checked(common.pop(_QUEUES, {}), inside, known)
    own = {
        queue: _checked(one, f"{inside}[{queue!r}]", OPTIONS)
        for queue, one in named.items()
    }
    return {queue: common | own.get(queue or "", {}) for queue in queues}


def _checked(
    given: object, where: str, accepted: Collection[str], *, also: str | None = None
) -> dict[str, Any]:
    """A copy of *given*, a dict with no keys but *accepted* and *also*."""
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{where}={shown(given)}: expected a dict")
    accepted = [*accepted, also] if also else accepted
    unknown = [
        f"{key!r}{nearest(str(key), accepted)}" for key in given if key not in accepted
    ]
    if unknown:
        raise ImproperlyConfigured(
            f"{where} has {', '.join(unknown)}; accepted are"
            f" {', '.join(accepted) or 'the queues of DJANGO_HUEY, and there are none'}"
        )
    return dict(given)
