"""The page of real consumers: its port, its health, and the lines in the log."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
from huey.consumer_options import ConsumerConfig

from huey_otel._safety.version import version
from runtime import otlp_receiver as otlp
from tests.live.processes import Consumer, alive, listening
from tests.live.received_events import ReceivedEvents
from tests.live.scraping import fetch, metrics, serves, url_of, value
from tests.support.programs import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

KINDS = ("thread", "process")
QUICK = ("-d", "0.02", "-m", "0.1")
SECRET = "open-sesame"

Start = Callable[..., Consumer]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start(consumer: Start, port: int) -> Start:
    """Starts a consumer whose page is to be at `port`."""

    def start(kind: str, *options: str, **given: Any) -> Consumer:
        settings = {"HUEY_OTEL_METRICS_PORT": str(port), **given}
        return consumer(kind, *QUICK, *options, **settings)

    return start


def said(running: Consumer) -> list[str]:
    """Our log records, each with its level and all of its lines."""
    logged = re.findall(
        r"^\[[^]]*\] (\w+):([\w.]+):\w+:(.*(?:\n  .*)*)$", running.log, re.MULTILINE
    )
    return [f"{level}:{text}" for level, name, text in logged if name == "huey.otel"]


def start_lines(running: Consumer) -> list[str]:
    """The start line in its log."""
    return [text for text in said(running) if "observes" in text]


def warnings(running: Consumer) -> list[str]:
    """Its log lines about ports."""
    return [
        text.removeprefix("WARNING:")
        for text in said(running)
        if text.startswith("WARNING:metrics ")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_start_line_says_once_where_everything_goes(
    kind: str, start: Start, port: int, redis_server: RedisServer, conn: redis.Redis
) -> None:
    conn.config_set("requirepass", SECRET)
    with otlp.receiver() as receiver:
        running = start(
            kind,
            url=f"redis://:{SECRET}@127.0.0.1:{redis_server.port}/0",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        )
        wait_until(lambda: serves(port))
        running.stop()

        where = receiver.endpoint.removeprefix("http://")
    assert SECRET not in running.log
    assert start_lines(running) == [
        f"INFO:huey-otel {version()} observes"
        "\n  queue: live"
        f"\n  metrics: http://localhost:{port}/metrics"
        f"\n  events: on channel 'live' of redis://127.0.0.1:{redis_server.port}"
        f"\n  spans: over OTLP/HTTP to {where}"
        "\n  propagation: auto, a task runs in the trace that enqueued it"
        "\n  periodic tasks: on"
    ]


def test_start_line_says_why_outputs_are_off(start: Start) -> None:
    running = start(
        *("thread", "-n"),
        HUEY_OTEL_METRICS_PORT="off",
        HUEY_OTEL_EVENTS="off",
        HUEY_OTEL_PROPAGATION="link",
    )
    wait_until(lambda: bool(start_lines(running)))
    ports = listening(running.pid)
    running.stop()

    assert start_lines(running) == [
        f"INFO:huey-otel {version()} observes"
        "\n  queue: live"
        "\n  metrics: off, metrics_port=None"
        "\n  events: off, events=None"
        "\n  spans: none until the application sets a tracer provider;"
        "\n    OTEL_EXPORTER_OTLP_ENDPOINT is not set"
        "\n  propagation: link, a task begins a trace with a link to its enqueue"
        "\n  periodic tasks: off"
    ]
    assert ports == set()


def test_second_consumer_gets_the_port_once_the_first_is_gone(
    start: Start, port: int
) -> None:
    first = start("thread")
    wait_until(lambda: serves(port))
    second = start("process")
    wait_until(lambda: bool(start_lines(second)))
    second.wait_until_started()
    before = listening(second.pid)

    first.stop()
    wait_until(lambda: serves(port))
    wait_until(lambda: len(warnings(second)) == 2)

    assert (before, listening(second.pid)) == (set(), {port})
    assert warnings(first) == []
    assert warnings(second) == [
        f"metrics port localhost:{port} is taken,"
        " tried again every 15 s; HUEY_OTEL_METRICS_PORT or metrics_port= sets"
        " another port, HUEY_OTEL_METRICS_HOST or metrics_host= another host",
        f"metrics are served on http://localhost:{port}/metrics now",
    ]
    (begun,) = start_lines(second)
    assert f"\n  metrics: not yet, port localhost:{port} is taken\n" in begun
    assert value(metrics(port), "huey_workers", worker_type="process") == 1
    assert second.stop() == 0


def test_a_disabled_library_touches_nothing(
    application: Callable[..., ModuleType],
    start: Start,
    port: int,
    received: ReceivedEvents,
    conn: redis.Redis,
) -> None:
    app = application(HUEY_OTEL_DISABLED="1")
    running = start("process", HUEY_OTEL_DISABLED="1")

    result = app.add(1, 2)(blocking=True, timeout=60)

    assert result == 3
    assert type(app.huey) is app.Queue
    assert received.catch_up() == []
    assert listening(running.pid) == set()
    assert not serves(port)
    clients = [client["name"] for client in conn.client_list()]
    assert "huey-otel" not in clients
    assert "huey-otel" not in running.log
    assert "huey.otel" not in running.log


def health(port: int) -> tuple[int, str]:
    return fetch(url_of(port, "/healthz"))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid))


def hanging(conn: redis.Redis) -> int:
    """The worker that hangs in a task."""
    found: Any = conn.blpop(["hangs"], timeout=60)
    assert found is not None
    return int(found[1])


def test_health_fails_at_once_for_a_worker_that_is_not_replaced(
    application: Callable[..., ModuleType],
    start: Start,
    port: int,
    conn: redis.Redis,
) -> None:
    application("no_replacements").hang()
    # Were a dead worker waited for, it would be for twice this time.
    start("process", "-w", "1", "-C", "-c", "600", application="no_replacements")
    wait_until(lambda: serves(port))
    pid = hanging(conn)
    before = health(port)

    kill(pid)

    assert before == (200, "ok\n")
    # It counts as alive until its parent has waited for it.
    wait_until(lambda: health(port) == (503, "dead: Worker-1\n"))


def test_health_waits_for_a_worker_that_will_be_replaced(
    application: Callable[..., ModuleType],
    start: Start,
    port: int,
    conn: redis.Redis,
) -> None:
    application("no_replacements").hang()
    start("process", "-w", "1", "-c", "0.5", application="no_replacements")
    wait_until(lambda: serves(port))
    pid = hanging(conn)
    before = health(port)

    began = time.monotonic()
    kill(pid)
    wait_until(lambda: health(port)[0] == 503)
    lasted = time.monotonic() - began

    assert before == (200, "ok\n")
    assert health(port) == (503, "dead: Worker-1\n")
    assert lasted >= 1


@pytest.mark.skipif(
    not hasattr(ConsumerConfig, "max_tasks"), reason="this huey recycles no workers"
)
@pytest.mark.parametrize("kind", KINDS)
def test_recycled_workers_are_healthy(
    kind: str, application: Callable[..., ModuleType], start: Start, port: int
) -> None:
    app = application()
    start(kind, "-w", "1", "-c", "0.5", "-M", "1")
    wait_until(lambda: serves(port))
    for number in range(4):
        app.add(number, 0)
    seen = set()

    def recycled() -> bool:
        seen.add(health(port))
        restarts = "huey_worker_restarts_total"
        return value(metrics(port), restarts, reason="max_tasks") == 4

    wait_until(recycled)

    assert seen == {(200, "ok\n")}


def test_workers_that_end_in_a_graceful_shutdown_are_not_dead(
    application: Callable[..., ModuleType], start: Start, port: int, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    application("ledger", LIVE_GATE=str(gate)).hold()
    running = start("process", "-w", "2", "-C", application="ledger")
    wait_until(lambda: serves(port))
    wait_until(lambda: value(metrics(port), "huey_workers_busy") == 1)

    running.send(signal.SIGINT)
    # The idle worker and the scheduler are gone, the other one still has a task.
    wait_until(lambda: sum(map(alive, running.children())) == 1)
    answer = health(port)
    gate.touch()

    assert running.wait() == 0
    assert answer == (200, "ok\n")


def test_orphans_do_not_hold_the_port_of_a_killed_consumer(
    application: Callable[..., ModuleType],
    start: Start,
    port: int,
    conn: redis.Redis,
) -> None:
    app = application("ledger")
    running = start("process", "-w", "2", "-c", "0.2", application="ledger")
    wait_until(lambda: serves(port))
    # Only workers forked after the port is open can inherit it.
    for pid in running.children():
        kill(pid)
    wait_until(lambda: sum(map(alive, running.children())) == 3)
    app.hang()
    pid = hanging(conn)
    orphans = running.children()

    running.kill()
    second = start("process")

    wait_until(lambda: serves(port))
    assert listening(second.pid) == {port}
    assert warnings(second) == []
    assert alive(pid)
    assert not any(listening(orphan) for orphan in orphans if alive(orphan))


@pytest.mark.parametrize("kind", KINDS)
def test_restarted_consumer_gets_the_same_port_again(
    kind: str, start: Start, port: int
) -> None:
    running = start(kind, "-w", "2")
    wait_until(lambda: serves(port))
    running.wait_until_started()
    began = "huey_consumer_start_time_seconds"
    before = value(metrics(port), began)

    running.send(signal.SIGHUP)
    wait_until(lambda: len(start_lines(running)) == 2)
    wait_until(lambda: serves(port))
    after = value(metrics(port), began)

    assert before is not None
    assert after is not None
    assert after > before
    assert listening(running.pid) == {port}
    shown = f"  metrics: http://localhost:{port}/metrics\n"
    assert [shown in text for text in start_lines(running)] == [True, True]
    assert warnings(running) == []
