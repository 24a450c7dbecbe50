"""A Django project that uses huey-otel by its settings alone."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import huey
import pytest
import redis

from huey_otel.events import Event
from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import Receiver, Span
from tests.live.processes import Program, listening
from tests.live.scraping import fetch, metrics, serves, value
from tests.support.programs import ROOT, application_with, free_port, snippet
from tests.support.waiting import wait_to_read, wait_until

BAKERY = "tests.live.apps.bakery"
MANAGE = str(ROOT / "tests" / "live" / "apps" / "bakery" / "manage.py")
NOWHERE = "redis://127.0.0.1:1"
TASKS_BACKEND = Path(huey.__file__).parent / "contrib" / "djhuey" / "tasks_backend.py"

Manage = Callable[..., Program]


QUIET = """
import os, sys, threading
from pathlib import Path
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
links = list(Path("/proc/self/fd").iterdir())
assert [link for link in links if "socket:" in os.path.realpath(link)] == []
assert [thread.name for thread in threading.enumerate()] == ["MainThread"]
"""


def run_quietly(database: Path, *command: str) -> None:
    """Run a command of manage.py's, which leaves no thread and no socket."""
    subprocess.run(
        [sys.executable, "-c", QUIET, *command],
        cwd=ROOT,
        env=os.environ
        | {
            "DJANGO_SETTINGS_MODULE": f"{BAKERY}.settings",
            "LIVE_DATABASE": str(database),
            "LIVE_QUEUE_URL": NOWHERE,
        },
        stdin=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )


class Web:
    """Django's own server, before its first request."""

    def __init__(self, manage: Manage, **environ: str) -> None:
        self.port = free_port()
        self.program = manage(
            *("runserver", "--noreload", f"127.0.0.1:{self.port}"), **environ
        )
        wait_until(self._listens)

    def _listens(self) -> bool:
        assert self.program.running, self.program.log
        return self.port in listening(self.program.pid)

    def get(self, path: str) -> Any:
        status, body = fetch(f"http://127.0.0.1:{self.port}/{path}")
        assert status == 200, body
        return json.loads(body)


class Queue:
    """A consumer that manage.py runs, and its page."""

    def __init__(self, manage: Manage, *command: str, **environ: str) -> None:
        self.port = free_port()
        self.program = manage(
            *command, HUEY_OTEL_METRICS_PORT=str(self.port), **environ
        )

    def wait_until_started(self) -> None:
        wait_until(lambda: serves(self.port))

    def finished(self, task: str, outcome: str) -> float | None:
        """How many attempts of a bakery task ended so, by the page."""
        return value(
            metrics(self.port),
            "huey_task_attempts_finished_total",
            task=f"{BAKERY}.tasks.{task}",
            outcome=outcome,
        )


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables, made once by `manage.py migrate`, which is quiet meanwhile."""
    path = tmp_path_factory.mktemp("bakery") / "empty.sqlite3"
    run_quietly(path, "migrate", "--run-syncdb")
    return path


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Path:
    return shutil.copy(empty_database, tmp_path / "bakery.sqlite3")


@pytest.fixture
def manage(
    keep: Callable[[Program], Program], redis_url: str, database: Path, tmp_path: Path
) -> Manage:
    """Starts `python manage.py` with the arguments given."""

    def manage(*arguments: str, **environ: str) -> Program:
        return keep(
            Program(
                MANAGE,
                *arguments,
                log=tmp_path / f"manage-{'-'.join(arguments)[:20]}.log",
                environ={
                    "LIVE_DATABASE": str(database),
                    "LIVE_QUEUE_URL": redis_url,
                    "OTEL_BSP_SCHEDULE_DELAY": "50",
                    **environ,
                },
            )
        )

    return manage


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp.receiver() as receiver:
        yield receiver


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def tree(spans: list[Span], parent: str | None = None) -> dict[str, Any]:
    """The names of *spans*, without the path of a task's module."""
    return {
        re.sub(r" [\w.]*\.", " ", span.name): tree(spans, span.span_id)
        for span in sorted(spans, key=lambda span: span.start)
        if span.parent_id == parent
    }


def trace_like(receiver: Receiver, expected: dict[str, Any]) -> dict[str, Any]:
    """The one trace that begins as *expected* does.

    Waits for all of it: its spans come from several processes.
    """
    (request,) = expected

    def found(spans: Sequence[Span]) -> dict[str, Any]:
        trace_ids = {span.trace_id for span in spans if span.name == request}
        return tree([span for span in spans if span.trace_id in trace_ids])

    receiver.wait(lambda spans: found(spans) == expected)
    return found(receiver.spans)


def in_order(events: Iterable[Event]) -> list[str]:
    """The statuses of one task, in order; several processes report them."""
    return [e["status"] for e in sorted(events, key=lambda e: e["timestamp"])]


ORDERED = {
    "GET order/<str:name>": {
        "enqueue bake": {
            "process bake": {
                "enqueue announce": {
                    "process announce": {
                        "enqueue write_letter": {"process write_letter": {}}
                    }
                }
            }
        }
    }
}


def test_our_log_lines_are_where_run_huey_logs(manage: Manage) -> None:
    queue = Queue(manage, "run_huey")
    queue.wait_until_started()
    queue.program.stop(signal.SIGINT)

    (line,) = [one for one in queue.program.log.splitlines() if " observes" in one]
    assert re.match(r"\[\d{4}-.*?\] INFO:huey\.otel:MainThread:huey-otel ", line)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_log_lines_have_the_ids_of_spans_by_djangos_settings(
    manage, receiver, receive_events, kind, tmp_path
):
    bakery_events = receive_events("bakery")
    path = application_with(
        tmp_path,
        logs=snippet("docs/traces.md", "span ids"),
        settings=snippet("docs/traces.md", "logging"),
    )
    environ = {
        "LIVE_KIND": kind,
        "LIVE_LOG": "1",
        "PYTHONPATH": path,
        **receiver.environ,
    }
    queue = Queue(manage, "run_huey", **environ)
    queue.wait_until_started()
    failed_id = Web(manage, **receiver.environ).get("burn/1")["task"]
    wait_until(lambda: queue.finished("burn", "error") == 1)
    queue.program.stop(signal.SIGINT)

    (started,) = [
        event
        for event in bakery_events.catch_up()
        if event["id"] == failed_id and event["status"] == "started"
    ]
    # Once: run_huey adds no handler to one that the settings have.
    assert re.findall(
        rf".*ERROR huey (.*): Unhandled exception in task {failed_id}",
        queue.program.log,
    ) == [f"trace_id={started['trace_id']} span_id={started['span_id']}"]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_request_becomes_one_trace_and_metrics_and_events_of_both_queues(
    manage, receiver, receive_events, database, kind
):
    environ = {"LIVE_KIND": kind, **receiver.environ}
    bakery_events, post_events = receive_events("bakery"), receive_events("post")
    bakery = Queue(manage, "run_huey", **environ)
    letters = Queue(manage, "djangohuey", "--queue", "letters", **environ)
    web = Web(manage, **receiver.environ)

    task_id = web.get("order/rye")["task"]
    failed_id = web.get("burn/1")["task"]
    for queue in (bakery, letters):
        queue.wait_until_started()
    wait_until(lambda: letters.finished("write_letter", "success") == 1)
    wait_until(lambda: bakery.finished("burn", "error") == 1)
    wait_until(lambda: (bakery.finished("take_stock", "success") or 0) >= 1)

    assert trace_like(receiver, ORDERED) == ORDERED
    burnt = {"GET burn/<int:pk>": {"enqueue burn": {"process burn": {}}}}
    assert trace_like(receiver, burnt) == burnt
    ((baked_by, sent),) = rows(database, "SELECT baked_by, letters FROM bakery_bread")
    assert (baked_by in bakery.program.children(), sent) == (kind == "process", 1)
    assert rows(database, "SELECT count(*) > 0 FROM bakery_stocktaking") == [(1,)]
    assert bakery.finished("bake", "success") == 1
    assert bakery.finished("write_letter", "success") is None
    done = ["enqueued", "started", "finished"]
    assert in_order(bakery_events.wait_for(task_id, 3)) == done
    assert in_order(bakery_events.wait_for(failed_id, 3)) == [
        "enqueued",
        "started",
        "error-task",
    ]
    # An event may come after what the page counts.
    wait_to_read(lambda: in_order(e for e in [*post_events.events] if e["id"]), done)
    wait_until(lambda: bakery_events.count("scheduling-periodic") > 0)
    for queue in (bakery, letters):
        assert queue.program.stop(signal.SIGINT) == 0


@pytest.mark.skipif(not TASKS_BACKEND.exists(), reason="huey 2 has no such backend")
def test_a_task_of_djangos_own_is_traced(manage, receiver, receive_events):
    received = receive_events("bakery")
    web = Web(manage, **receiver.environ)
    web.get("order/rye")
    Queue(manage, "run_huey", **receiver.environ)

    task_id = web.get("slices/1")["task"]

    assert in_order(received.wait_for(task_id, 3)) == [
        "enqueued",
        "started",
        "finished",
    ]
    sliced = {"GET slices/<int:pk>": {"enqueue run": {"process run": {}}}}
    assert trace_like(receiver, sliced) == sliced


def test_immediate_mode_under_debug_makes_spans_and_needs_nothing(
    manage, receiver, database
):
    web = Web(manage, LIVE_DEBUG="1", LIVE_QUEUE_URL=NOWHERE, **receiver.environ)

    web.get("order/rye")
    status, _ = fetch(f"http://127.0.0.1:{web.port}/burn/1")

    assert status == 200
    assert trace_like(receiver, ORDERED) == ORDERED
    assert rows(database, "SELECT baked_by, letters FROM bakery_bread") == [
        (web.program.pid, 1)
    ]
    assert listening(web.program.pid) == {web.port}


def test_a_server_that_enqueues_nothing_is_quiet(manage, redis_url):
    web = Web(manage)

    threads = web.get("threads")["threads"]

    assert [re.sub(r"\d+", "N", name) for name in threads] == [
        "MainThread",
        "Thread-N (process_request_thread)",
    ]
    assert listening(web.program.pid) == {web.port}
    with redis.Redis.from_url(redis_url) as conn:
        clients = [one["addr"] for one in conn.client_list()]
    # The connection of this test; the fixture's own uses a Unix socket.
    assert len([address for address in clients if address.startswith("127.")]) == 1


@pytest.mark.parametrize(
    "command",
    [["check"], ["shell", "-c", "from huey.contrib.djhuey import HUEY"]],
    ids=["check", "shell"],
)
def test_a_command_is_quiet(command, database):
    run_quietly(database, *command)


def test_the_projects_own_tests_pass_and_listen_nowhere(manage):
    program = manage(
        *("test", f"{BAKERY}.orders_tests"), LIVE_DEBUG="1", LIVE_QUEUE_URL=NOWHERE
    )

    assert program.wait() == 0
    assert "Ran 1 test" in program.log
