"""A Django project's queues are instrumented, in whatever order it starts.

Django starts once a process, so each test starts a Python of its own.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.support.programs import ROOT

pytestmark = pytest.mark.slow

OURS = "huey_otel.django"
DJHUEY = "huey.contrib.djhuey"
DJANGO_HUEY = "django_huey"

MEMORY = {"huey_class": "huey.MemoryHuey", "immediate": False}
SEVERAL = {"queues": {"emails": MEMORY, "reports": MEMORY | {"name": "reporting"}}}

SETTINGS = """
SQLITE = {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DATABASES = {{"default": SQLITE}}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
locals().update({settings!r})
{more}
"""
COUNTED = """
from prometheus_client import REGISTRY
counted = {
    (sample.labels["queue"], sample.labels["task"]): sample.value
    for metric in REGISTRY.collect() if metric.name == "huey_tasks_enqueued"
    for sample in metric.samples if sample.name.endswith("_total")
}
print(json.dumps([[*labels, value] for labels, value in counted.items()]))
"""
INSTRUMENTED = """
import sys
from huey_otel._setup.instrumentation import INSTRUMENTATIONS
live = [known for known in INSTRUMENTATIONS if not known.settings.disabled]
print(json.dumps(sorted(known._huey.name for known in live)))
"""


@pytest.fixture
def start(tmp_path):
    """Starts a project with *settings*, runs *code*, and reads what it printed."""

    def start(code, *, more="", environ=(), check=True, **settings):
        (tmp_path / "project_settings.py").write_text(
            SETTINGS.format(settings=settings, more=more)
        )
        done = subprocess.run(
            [
                *(sys.executable, "-W", "error", "-c"),
                f"import json, django; django.setup()\n{code}",
            ],
            env=os.environ
            | {
                "DJANGO_SETTINGS_MODULE": "project_settings",
                "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
            }
            | dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        sys.stderr.write(done.stderr)
        if not check:
            return done.stderr.splitlines()[-1]
        assert done.returncode == 0
        return json.loads(done.stdout)

    return start


@pytest.fixture
def bakery(tmp_path):
    """An application whose models import its tasks, which import djhuey's `enqueue`."""
    package = tmp_path / "bakery"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "models.py").write_text("from bakery import tasks\n")
    (package / "tasks.py").write_text(
        "from huey.contrib.djhuey import db_task, enqueue\n"
        "import django_huey\n"
        "@db_task()\n"
        "def bake(): ...\n"
        "@django_huey.db_task(queue='emails')\n"
        "def tell(): ...\n"
    )
    return "bakery"


@pytest.mark.parametrize("place", range(4), ids=["first", "second", "third", "last"])
def test_the_order_of_applications_does_not_matter(start, bakery, place):
    apps = [bakery, DJHUEY, DJANGO_HUEY]
    apps.insert(place, OURS)

    counted = start(
        "from bakery import tasks; tasks.enqueue(tasks.bake.s()); tasks.bake();"
        f"tasks.tell()\n{COUNTED}",
        INSTALLED_APPS=apps,
        HUEY=MEMORY | {"name": "bread"},
        DJANGO_HUEY=SEVERAL,
    )

    assert counted == [
        ["bread", "bakery.tasks.bake", 2.0],
        ["emails", "bakery.tasks.tell", 1.0],
    ]


def test_an_application_behind_ours_that_takes_enqueue_is_observed(
    start, bakery, tmp_path
):
    (tmp_path / "bakery" / "__init__.py").write_text(
        "from huey.contrib.djhuey import enqueue\n"
    )

    counted = start(
        "import bakery\nfrom bakery import tasks\n"
        f"bakery.enqueue(tasks.bake.s())\n{COUNTED}",
        INSTALLED_APPS=[OURS, bakery, DJANGO_HUEY, DJHUEY],
        HUEY=MEMORY | {"name": "bread"},
        DJANGO_HUEY=SEVERAL,
    )

    assert counted == [["bread", "bakery.tasks.bake", 1.0]]


def test_a_huey_in_the_settings_is_instrumented(start):
    names = start(
        INSTRUMENTED,
        INSTALLED_APPS=[OURS, DJHUEY],
        more="from huey import MemoryHuey; HUEY = MemoryHuey('ready made')",
    )

    assert names == ["ready made"]


def test_django_huey_alone_brings_no_queue_of_djhueys(start):
    names = start(
        INSTRUMENTED + "assert 'huey.contrib.djhuey' not in sys.modules",
        INSTALLED_APPS=["django_huey.apps.DjangoHueyConfig", OURS],
        DJANGO_HUEY=SEVERAL,
    )

    assert names == ["emails", "reporting"]


def test_djhuey_alone_does_not_need_django_huey(start):
    names = start(
        INSTRUMENTED + "assert 'django_huey' not in sys.modules",
        INSTALLED_APPS=[OURS, DJHUEY],
        HUEY=MEMORY | {"name": "bread"},
    )

    assert names == ["bread"]


def test_queues_that_settings_include_from_a_file_are_instrumented(start, tmp_path):
    (tmp_path / "more_queues.py").write_text(f"queues = {{'sms': {MEMORY!r}}}\n")

    names = start(
        INSTRUMENTED,
        INSTALLED_APPS=[OURS, DJANGO_HUEY],
        DJANGO_HUEY=SEVERAL,
        HUEY_OTEL={"queues": {"sms": {"channel": "texts"}}},
        more="from django_huey.utils import include\n"
        "DJANGO_HUEY['queues'].update(include('more_queues'))",
    )

    assert names == ["emails", "reporting", "sms"]


def test_each_queue_gets_its_own_options(start):
    channels = start(
        "from django_huey import get_queue\n"
        "from huey_otel import instrument\n"
        "queues = [get_queue(name) for name in ('emails', 'reports')]\n"
        "settings = [instrument(queue).settings for queue in queues]\n"
        "print(json.dumps([[s.channel, s.exposed.port] for s in settings]))",
        INSTALLED_APPS=[OURS, DJANGO_HUEY],
        DJANGO_HUEY=SEVERAL,
        HUEY_OTEL={
            "metrics_port": 9500,
            "channel": "all",
            "queues": {"emails": {"channel": "letters"}},
        },
    )

    assert channels == [["letters", 9500], ["all", 9500]]


def test_starting_django_starts_no_thread_or_socket_of_ours(start):
    threads, sockets = start(
        "import os, threading\n"
        "from pathlib import Path\n"
        "links = list(Path('/proc/self/fd').iterdir())\n"
        "sockets = [1 for link in links if 'socket:' in os.path.realpath(link)]\n"
        "print(json.dumps([threading.active_count(), len(sockets)]))",
        INSTALLED_APPS=[OURS, DJHUEY],
        HUEY={"name": "bread", "url": "redis://127.0.0.1:1"},
    )

    assert (threads, sockets) == (1, 0)


def test_loading_applications_again_does_not_instrument_again(start):
    names = start(
        "from django.conf import settings\n"
        "from django.test import override_settings\n"
        "with override_settings(INSTALLED_APPS=settings.INSTALLED_APPS[:]):\n"
        f"    pass\n{INSTRUMENTED}",
        INSTALLED_APPS=[OURS, DJHUEY],
        HUEY=MEMORY | {"name": "bread"},
    )

    assert names == ["bread"]


def test_disabled_no_queue_is_touched(start):
    names = start(
        "from huey.contrib.djhuey import HUEY\n"
        "from huey import MemoryHuey\n"
        f"assert type(HUEY) is MemoryHuey\n{INSTRUMENTED}",
        INSTALLED_APPS=[OURS, DJHUEY],
        HUEY=MEMORY,
        environ={"HUEY_OTEL_DISABLED": "1"},
    )

    assert names == []


DATABASE_TASKS = """
from django.db import connection, transaction
from huey.contrib.djhuey import HUEY, db_task, on_commit_task

@db_task()
def look():
    connection.ensure_connection()

@on_commit_task()
def after_commit(): ...

def is_open_after(immediate):
    HUEY.immediate = immediate
    look()
    for _ in range(HUEY.pending_count()):
        HUEY.execute(HUEY.dequeue())
    return connection.connection is not None

opened = [is_open_after(immediate) for immediate in (True, False)]
with transaction.atomic():
    after_commit()
    transaction.set_rollback(True)
rolled_back = HUEY.pending_count()
with transaction.atomic():
    after_commit()
print(json.dumps([opened, rolled_back, HUEY.pending_count()]))
"""


@pytest.mark.parametrize("apps", [[DJHUEY], [DJHUEY, OURS]], ids=["bare", "ours"])
def test_database_tasks_close_and_commit_as_without_instrumentation(
    start, tmp_path, apps
):
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}

    opened, rolled_back, committed = start(
        DATABASE_TASKS,
        INSTALLED_APPS=apps,
        HUEY=MEMORY,
        DATABASES={"default": sqlite},
    )

    # Immediate mode leaves the request's connection alone.
    assert (opened, rolled_back, committed) == ([True, False], 0, 1)


DOCUMENT = (ROOT / "docs" / "django.md").read_text()
ONE_QUEUE, _, SEVERAL_QUEUES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)


@pytest.mark.parametrize(
    ("more", "apps", "names"),
    [
        (ONE_QUEUE, [], ["shop"]),
        (SEVERAL_QUEUES, [DJANGO_HUEY, OURS], ["letters", "orders"]),
    ],
    ids=["one queue", "several"],
)
def test_the_documented_settings_work(start, more, apps, names):
    started = start(INSTRUMENTED, INSTALLED_APPS=apps, HUEY=MEMORY, more=more)

    assert started == names


IMPROPER = "django.core.exceptions.ImproperlyConfigured: "


@pytest.mark.parametrize(
    ("settings", "environ", "message"),
    [
        (
            {"INSTALLED_APPS": [OURS]},
            {},
            "huey_otel.django has no queue to instrument: expected"
            " 'huey.contrib.djhuey' or 'django_huey' in INSTALLED_APPS"
            " (any other huey is for huey_otel.instrument(huey))",
        ),
        (
            {"HUEY_OTEL": {"span_naming": "long"}},
            {},
            "huey_otel.django, queue 'bread': span_naming='long':"
            " expected one of task, queue",
        ),
        (
            {"HUEY_OTEL": {"flush_timeout": [5]}},
            {},
            "huey_otel.django, queue 'bread': flush_timeout=<list>: expected a number"
            " of seconds from 0 to 1,000,000,000",
        ),
        (
            {},
            {"HUEY_OTEL_SPAN_NAMING": "long"},
            "huey_otel.django, queue 'bread': HUEY_OTEL_SPAN_NAMING='long':"
            " expected one of task, queue",
        ),
    ],
    ids=["no queue", "value", "type", "environment"],
)
def test_a_wrong_setting_ends_the_start_of_django(start, settings, environ, message):
    project = {
        "INSTALLED_APPS": [OURS, DJHUEY],
        "HUEY": MEMORY | {"name": "bread"},
    }

    said = start("", check=False, environ=environ, **(project | settings))

    assert said == IMPROPER + message
