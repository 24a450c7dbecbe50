"""The application's configuration, which Django makes while it starts."""

from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from huey.api import Huey

from huey_otel._options.table import OPTIONS, nearest
from huey_otel._safety.redaction import shown
from huey_otel._setup.instrument import instrument

_SETTING: Final = "HUEY_OTEL"
_QUEUES: Final = "queues"
_DJHUEY: Final = "huey.contrib.djhuey"
_DJANGO_HUEY: Final = "django_huey"


class HueyOtelConfig(AppConfig):
    """Instruments the queues of djhuey and of django-huey.

    Raises ImproperlyConfigured for a setting that is not accepted, and where
    there is no queue.
    """

    name = "huey_otel.django"
    # Else Django takes the last part of `name`, which is "django".
    label = "huey_otel"
    verbose_name = "huey-otel"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # ready() is too late: models have imported tasks by then, and with them
        # djhuey's `enqueue`, a bound method that keeps the class it was bound with.
        found = _installed(settings.INSTALLED_APPS)
        arguments = arguments_of(getattr(settings, _SETTING, {}), found)
        for queue, huey in found.items():
            try:
                instrument(huey, **arguments[queue])
            except (TypeError, ValueError) as error:
                raise ImproperlyConfigured(
                    f"huey_otel.django, queue {huey.name!r}: {error}"
                ) from error


def _installed(apps: Iterable[str]) -> dict[str | None, Huey]:
    """The hueys of *apps*, the entries of INSTALLED_APPS.

    django-huey's have the names that DJANGO_HUEY gives them, djhuey's is None.
    Importing both that early is what Django does with its applications anyway.
    Raises ImproperlyConfigured if there is none.
    """
    apps = list(apps)
    found: dict[str | None, Huey] = {}
    if _is_among(apps, _DJHUEY):
        found[None] = import_module(_DJHUEY).HUEY
    if _is_among(apps, _DJANGO_HUEY):
        found |= import_module(_DJANGO_HUEY).config.hueys_setting
    if not found:
        raise ImproperlyConfigured(
            "huey_otel.django has no queue to instrument: expected"
            f" {_DJHUEY!r} or {_DJANGO_HUEY!r} in INSTALLED_APPS"
            " (any other huey is for huey_otel.instrument(huey))"
        )
    return found


def _is_among(apps: list[str], package: str) -> bool:
    """An entry names the package, a configuration or an application inside it."""
    return any(app == package or app.startswith(f"{package}.") for app in apps)


def arguments_of(
    setting: object, queues: Collection[str | None]
) -> dict[str | None, dict[str, Any]]:
    """The arguments of `instrument` for each of *queues*, by HUEY_OTEL's value.

    Keys of *setting* are those arguments, and `queues`: by the name that DJANGO_HUEY
    gives a queue, the arguments that differ there. Raises ImproperlyConfigured for
    anything else.
    """
    common = _checked(setting, _SETTING, [*OPTIONS, _QUEUES])
    known = [queue for queue in queues if queue is not None]
    inside = f"{_SETTING}[{_QUEUES!r}]"
    named = _checked(common.pop(_QUEUES, {}), inside, known)
    own = {
        queue: _checked(one, f"{inside}[{queue!r}]", OPTIONS)
        for queue, one in named.items()
    }
    return {queue: common | own.get(queue or "", {}) for queue in queues}


def _checked(given: object, where: str, accepted: Collection[str]) -> dict[str, Any]:
    """A copy of *given*, a dict with no keys but *accepted*."""
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{where}={shown(given)}: expected a dict")
    unknown = [
        f"{key!r}{nearest(str(key), accepted)}" for key in given if key not in accepted
    ]
    if unknown:
        raise ImproperlyConfigured(
            f"{where} has {', '.join(unknown)}; accepted are"
            f" {', '.join(accepted) or 'the queues of DJANGO_HUEY, and there are none'}"
        )
    return dict(given)
