"""The application's configuration, which Django makes while it starts."""

from types import ModuleType

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from huey_otel._setup.instrument import instrument
from huey_otel.django import options, queues


class HueyOtelConfig(AppConfig):
    """Instruments the queues of djhuey and of django-huey.

    Raises ImproperlyConfigured for a setting that is not accepted, and where
    there is no queue.
    """

    name = "huey_otel.django"
    # Django would take "django".
    label = "huey_otel"
    verbose_name = "huey-otel"

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # ready() is too late: models have imported tasks by then, and with them
        # djhuey's `enqueue`, which is the bound method of its moment.
        _instrument_all()


def _instrument_all() -> None:
    found = queues.installed(settings.INSTALLED_APPS)
    wanted = options.read(getattr(settings, options.SETTING, {}), found)
    for queue, huey in found.items():
        try:
            instrument(huey, **wanted[queue])
        except (TypeError, ValueError) as error:
            raise ImproperlyConfigured(
                f"huey_otel.django, queue {huey.name!r}: {error}"
            ) from error
