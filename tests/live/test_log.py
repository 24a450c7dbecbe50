"""Our log lines are where huey's own are, once, however the consumer starts."""

import logging
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.processes import Consumer, Program
from tests.support.waiting import wait_until

STARTED = " observes"
UNKNOWN = "HUEY_OTEL_CHANEL is no setting of huey-otel and has no effect"
TAKEN = "is taken, tried again every 15 s"


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def lines(text: str, said: str) -> list[str]:
    return [line for line in text.splitlines() if said in line]


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_our_log_lines_are_in_the_consumers_log_file(
    kind: str, consumer: Callable[..., Consumer], taken_port: int, tmp_path: Path
) -> None:
    file = tmp_path / "consumer.log"
    running = consumer(
        *(kind, "-l", str(file)),
        HUEY_OTEL_METRICS_PORT=str(taken_port),
        HUEY_OTEL_CHANEL="other",
    )
    wait_until(lambda: file.exists() and STARTED in file.read_text())
    running.wait_until_started()
    running.stop()

    # Lines logged during the application's import, before logging is set up, repeat.
    assert running.log == f"{UNKNOWN} (did you mean HUEY_OTEL_CHANNEL?)\n"
    for said, level in ((STARTED, "INFO"), (TAKEN, "WARNING"), (UNKNOWN, "WARNING")):
        (line,) = lines(file.read_text(), said)
        assert re.match(rf"\[\d{{4}}-.*?\] {level}:huey\.otel:\w+:", line)


def test_our_log_lines_are_in_the_runtimes_log_with_time_and_level(
    keep: Callable[[Program], Program],
    redis_url: str,
    taken_port: int,
    tmp_path: Path,
) -> None:
    running = Consumer.__new__(Consumer)
    Program.__init__(
        running,
        *("-m", "runtime", "consumer", "tests.live.apps.outcomes.huey"),
        log=tmp_path / "log",
        environ={
            "LIVE_QUEUE_URL": redis_url,
            "HUEY_OTEL_METRICS_PORT": str(taken_port),
        },
    )
    keep(running)
    wait_until(lambda: STARTED in running.log)
    running.wait_until_started()
    running.stop()

    for said, level in ((STARTED, "INFO"), (TAKEN, "WARNING")):
        (line,) = lines(running.log, said)
        assert re.match(rf"\S+Z {level} \w+ huey\.otel: ", line)


def test_our_logger_is_a_child_of_hueys_and_has_no_settings_of_its_own() -> None:
    ours = logging.getLogger("huey.otel")

    assert ours.parent is logging.getLogger("huey")
    assert (ours.handlers, ours.level, ours.propagate) == ([], logging.NOTSET, True)


def test_greenlets_without_gevents_patches_are_logged(
    consumer: Callable[..., Consumer], redis_url: str
) -> None:
    running = consumer(
        "greenlet",
        "-n",
        application="greenlets",
        LIVE_PATCH="never",
        HUEY_OTEL_METRICS_PORT="0",
    )
    wait_until(lambda: STARTED in running.log)
    running.clean_up()

    (line,) = lines(running.log, "gevent has not patched")
    assert re.match(r"\[\d{4}-.*?\] WARNING:huey\.otel:", line)
