"""Blocks of the docs, pasted into a new Django project."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import Receiver, Span
from tests.live.processes import Program
from tests.live.scraping import fetch, serves_anything, url_of
from tests.support.programs import free_port, snippet
from tests.support.waiting import wait_until

BIN = Path(sys.executable).parent
SETTINGS = """
INSTALLED_APPS += ["shop"]
ALLOWED_HOSTS = ["127.0.0.1"]
HUEY["connection"] = {"url": os.environ["LIVE_QUEUE_URL"]}
"""
TASKS = """
from huey.contrib.djhuey import task

@task()
def pack(): pass
"""
URLS = """
import os
from django.http import JsonResponse
from django.urls import path
from shop.tasks import pack

def order(request):
    pack()
    return JsonResponse({"pid": os.getpid()})

urlpatterns = [path("order", order)]
"""
QUEUES = 'INSTALLED_APPS += ["django_huey", "huey_otel.django"]\n'

Keep = Callable[[Program], Program]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A new project `shop` with the settings of docs/django.md."""
    done = subprocess.run(
        [BIN / "django-admin", "startproject", "shop", tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    package = tmp_path / "shop"
    with (package / "settings.py").open("a") as settings:
        settings.write(snippet("docs/django.md", "settings"))
        settings.write("import os\n" + SETTINGS)
    (package / "tasks.py").write_text(TASKS)
    (package / "urls.py").write_text(URLS)
    return tmp_path


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp.receiver() as receiver:
        yield receiver


class Site:
    """The project under what *script* runs; `gunicorn` there is on a free port."""

    def __init__(self, project: Path, script: str, keep: Keep, url: str) -> None:
        self.port = free_port()
        self._program = Program(
            *("-c", f"cd {project}\n{script}"),
            log=project / "log",
            environ={
                "LIVE_QUEUE_URL": url,
                "PATH": f"{BIN}{os.pathsep}{os.defpath}",
                "GUNICORN_CMD_ARGS": f"--bind=127.0.0.1:{self.port}",
            },
            executable="/bin/sh",
        )
        keep(self._program)
        wait_until(lambda: serves_anything(self.port))

    def order(self) -> int:
        """Ask for an order; the process that took it."""
        status, body = fetch(url_of(self.port, "/order"))
        assert status == 200, body
        pid: int = json.loads(body)["pid"]
        return pid

    def stop(self) -> None:
        assert self._program.stop() == 0, self._program.log


def pairs(spans: list[Span]) -> list[tuple[str, str | None]]:
    """Of each span its kind, and that of its parent."""
    kinds = {span.span_id: span.kind for span in spans}
    return [(span.kind, kinds.get(span.parent_id or "")) for span in spans]


def order_of_all(site: Site, workers: int) -> int:
    """Ask until each of the *workers* has answered; how many requests that took."""
    answered: list[int] = []

    def all_have() -> bool:
        answered.append(site.order())
        return len(set(answered)) == workers

    wait_until(all_have)
    return len(answered)


def test_the_wsgi_file_of_the_document_serves_the_site_and_traces_it(
    project: Path, receiver: Receiver, keep: Keep, redis_url: str
) -> None:
    (project / "shop" / "wsgi.py").write_text(snippet("docs/django.md", "wsgi"))
    endpoint = f"export OTEL_EXPORTER_OTLP_ENDPOINT={receiver.endpoint}\n"
    script = endpoint + "exec gunicorn --workers 2 shop.wsgi"

    site = Site(project, script, keep, redis_url)
    requests = order_of_all(site, 2)
    site.stop()

    seen = pairs(receiver.spans)
    assert sorted(seen, key=str) == [
        *[("PRODUCER", "SERVER")] * requests,
        *[("SERVER", None)] * requests,
    ]


def test_the_first_request_of_each_process_has_its_span_without_a_change(
    project: Path, receiver: Receiver, keep: Keep, redis_url: str
) -> None:
    install, *rest = snippet("docs/traces.md", "zero code").splitlines()
    *environment, command = rest
    assert install.startswith("pip install ")
    said = "\n".join([*environment, f"exec {command}"])
    script = said.replace("http://localhost:4318", receiver.endpoint)
    assert script != said

    site = Site(project, script, keep, redis_url)
    requests = order_of_all(site, 2)
    site.stop()

    seen = pairs([span for span in receiver.spans if span.kind != "CLIENT"])
    assert sorted(seen, key=str) == [
        *[("PRODUCER", "SERVER")] * requests,
        *[("SERVER", None)] * requests,
    ]
    services = {span.resource["service.name"] for span in receiver.spans}
    assert services == {"shop-web"}


@pytest.mark.parametrize(
    "settings",
    [
        snippet("docs/django.md", "settings"),
        QUEUES + snippet("docs/django.md", "queues"),
    ],
    ids=["document", "several queues"],
)
def test_django_accepts_the_settings_in_the_docs(settings: str, tmp_path: Path) -> None:
    startproject = [BIN / "django-admin", "startproject", "shop", tmp_path]
    subprocess.run(startproject, check=True, capture_output=True)
    with (tmp_path / "shop" / "settings.py").open("a") as file:
        file.write(settings)

    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--fail-level", "WARNING"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_the_listener_in_the_docs_receives_events(
    keep: Keep, redis_url: str, tmp_path: Path
) -> None:
    listening = snippet("docs/events.md", "listening")
    program = tmp_path / "listen.py"
    program.write_text(listening.replace("redis://localhost:6379", redis_url))
    listener = Program("-u", str(program), log=tmp_path / "log", environ={})
    keep(listener)

    event = json.dumps({"status": "started", "name": "app.add", "id": "1"})
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: client.publish("myapp", event) == 1)

    wait_until(lambda: listener.log.startswith("started app.add "))
