"""Producers that fork after they were instrumented, and after their first use."""

import json
import signal
import socket
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import Receiver
from tests.live.processes import Program
from tests.live.scraping import fetch, serves_anything, url_of
from tests.support.programs import free_port
from tests.support.waiting import wait_until

REQUESTS = 60
BIN = Path(sys.executable).parent
APPLICATION = "tests.live.apps.forking_web:application"
GUNICORN = ("-m", "gunicorn", APPLICATION, "--workers", "3", "--bind")
UWSGI = (
    *("--module", APPLICATION, "--master", "--processes", "3", "--enable-threads"),
    *("--die-on-term", "--disable-logging", "--http"),
)
SERVERS = {
    "gunicorn": (sys.executable, GUNICORN, ()),
    "gunicorn that preloads": (sys.executable, GUNICORN, ("--preload",)),
    "gunicorn of greenlets that preloads": (
        *(sys.executable, GUNICORN),
        ("--preload", "--worker-class", "gevent"),
    ),
    "uwsgi": (str(BIN / "uwsgi"), UWSGI, ()),
    "uwsgi that is lazy": (str(BIN / "uwsgi"), UWSGI, ("--lazy-apps",)),
}


USED = pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])


def enqueued_ids(receiver: Receiver) -> Counter[str]:
    """How often the span of each enqueue was received."""
    spans = [span for span in receiver.spans if span.kind == "PRODUCER"]
    return Counter(str(span.attributes["messaging.message.id"]) for span in spans)


def pids(receiver: Receiver) -> dict[str, int]:
    """The process that made the span of each enqueue, from its resource."""
    return {
        str(span.attributes["messaging.message.id"]): span.resource["process.pid"]
        for span in receiver.spans
        if span.kind == "PRODUCER"
    }


@pytest.mark.proof_but(
    "gunicorn that preloads-unused", "gunicorn that preloads-used", "uwsgi-used"
)
@USED
@pytest.mark.parametrize("server", SERVERS)
def test_each_child_of_a_web_server_sends_what_it_enqueued_once(
    server: str,
    used: bool,  # noqa: FBT001 - a parameter of the test
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path: Path,
) -> None:
    executable, arguments, more = SERVERS[server]
    port = free_port()
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as client:
        program = Program(
            *arguments,
            *(f"127.0.0.1:{port}", *more),
            log=tmp_path / "log",
            # A busy machine may not export everything in the second after SIGTERM.
            environ={"LIVE_QUEUE_URL": redis_url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
            | ({"LIVE_USED": "1"} if used else {})
            # The master of uWSGI runs no thread once it has forked.
            | ({"LIVE_FLUSH": "1"} if server == "uwsgi" else {})
            | receiver.environ,
            executable=executable,
        )
        keep(program)
        wait_until(lambda: serves_anything(port))
        asked: list[tuple[int, str]] = []

        def several_answer() -> bool:
            """Whether not all was answered by the one that was there first."""
            with ThreadPoolExecutor(6) as clients:
                asked.extend(
                    clients.map(lambda _: fetch(url_of(port, "/")), range(REQUESTS))
                )
            taken = {json.loads(body)["pid"] for status, body in asked if status == 200}
            return len(taken) > 1

        wait_until(several_answer)
        answers = [json.loads(body) for status, body in asked if status == 200]
        sent = {answer["id"] for answer in answers}
        wait_until(lambda: sent <= enqueued_ids(receiver).keys())
        program.stop(signal.SIGTERM)
        queued = client.llen("huey.redis.live")

    ids = enqueued_ids(receiver)
    clients_of = {
        span.attributes["messaging.message.id"]: span.attributes["messaging.client.id"]
        for span in receiver.spans
    }
    assert len(answers) == len(asked)
    assert {answer["id"]: clients_of[answer["id"]] for answer in answers} == {
        answer["id"]: f"{socket.gethostname()}:{answer['pid']}" for answer in answers
    }
    assert pids(receiver).items() >= {
        (answer["id"], answer["pid"]) for answer in answers
    }
    assert set(ids.values()) == {1}
    assert ids.total() == queued
    assert "Traceback" not in program.log


@pytest.mark.proof_but("fork-used")
@USED
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_each_child_of_multiprocessing_sends_what_it_enqueued_once(
    method: str,
    used: bool,  # noqa: FBT001 - a parameter of the test
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path: Path,
) -> None:
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as client:
        program = Program(
            *("-m", "tests.live.apps.forking_web", method),
            log=tmp_path / "log",
            environ={"LIVE_QUEUE_URL": redis_url}
            | ({"LIVE_USED": "1"} if used else {})
            | receiver.environ,
        )
        keep(program)
        assert program.wait() == 0
        queued = client.llen("huey.redis.live")

    ids = enqueued_ids(receiver)
    assert queued >= 125
    assert set(ids.values()) == {1}
    assert ids.total() == queued
