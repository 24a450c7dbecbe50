"""The queues of a Django project, by what it has installed."""

from collections.abc import Iterable
from importlib import import_module
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from huey.api import Huey

_DJHUEY: Final = "huey.contrib.djhuey"
_DJANGO_HUEY: Final = "django_huey"


def installed(apps: Iterable[str]) -> dict[str | None, Huey]:
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
