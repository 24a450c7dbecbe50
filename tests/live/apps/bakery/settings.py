"""A Django project with a queue of djhuey's and one of django-huey's."""

import os

DEBUG = "LIVE_DEBUG" in os.environ
SECRET_KEY = "bread"
ALLOWED_HOSTS = ["127.0.0.1"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.live.apps.bakery.urls"
WSGI_APPLICATION = "tests.live.apps.bakery.wsgi.application"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["LIVE_DATABASE"],
        "ATOMIC_REQUESTS": True,
    }
}

INSTALLED_APPS = [
    "tests.live.apps.bakery",
    "huey.contrib.djhuey",
    "django_huey",
    "huey_otel.django",
]
CONNECTION = {"url": os.environ["LIVE_QUEUE_URL"]}
CONSUMER = {
    "workers": 2,
    "worker_type": os.environ.get("LIVE_KIND", "thread"),
    "initial_delay": 0.02,
    "max_delay": 0.1,
}
HUEY = {"name": "bakery", "connection": CONNECTION, "consumer": CONSUMER}
DJANGO_HUEY = {
    "default": "letters",
    "queues": {"letters": {"connection": CONNECTION, "consumer": CONSUMER}},
}
HUEY_OTEL = {
    "publish_enqueued": True,
    "queues": {"letters": {"channel": "post"}},
}

TASKS = {"default": {"BACKEND": "huey.contrib.djhuey.tasks_backend.HueyBackend"}}

if "LIVE_LOG" in os.environ:
    from app.settings import LOGGING  # noqa: F401
