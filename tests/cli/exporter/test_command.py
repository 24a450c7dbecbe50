"""`huey-otel exporter` as a process: how it begins, serves and ends."""

import gzip
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.live.scraping import fetch
from tests.support.commands import Command
from tests.support.programs import run_program
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.live, pytest.mark.once, pytest.mark.slow]


@pytest.fixture
def export() -> Iterator[Callable[..., Command]]:
    """Starts the command; it is ended with the test."""
    started: list[Command] = []

    def export(*arguments: str, **environ: str) -> Command:
        started.append(Command("exporter", *arguments, **environ))
        return started[-1]

    yield export
    for command in started:
        command.__exit__(None, None, None)


def url_of(command: Command) -> str:
    """Where it serves its metrics, once it does."""
    (line,) = command.said(" are served on ").err[:1]
    return line.rpartition(" ")[2]


def queue(server: RedisServer, *more: str) -> list[str]:
    return ["--redis", server.url, "--queue", "my-app", "--port", "0", *more]


def test_it_serves_until_it_is_told_to_end(redis_server, export, leave):
    leave('huey_task_retries_total{queue="my-app",task="t"} 3.0\n')
    command = export(*queue(redis_server, "--queue", "other"))
    url = url_of(command)

    status, page = fetch(url)
    compressed = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(compressed, timeout=60) as answer:
        unpacked = gzip.decompress(answer.read()).decode()
    well = fetch(url.replace("/metrics", "/healthz"))
    command.process.send_signal(signal.SIGTERM)

    assert status == 200
    assert 'huey_task_retries_total{consumer="web-1:7"' in page
    assert 'huey_task_retries_total{consumer="web-1:7"' in unpacked
    assert well == (200, "ok\n")
    assert command.ended() == 0
    address = f"redis://127.0.0.1:{redis_server.port}"
    assert command.err == [
        f"huey-otel: metrics of 'my-app', 'other' of {address} are served on {url}"
    ]
    assert command.out == []


def test_ctrl_c_ends_it_quietly(redis_server, export):
    command = export(*queue(redis_server))
    url_of(command)

    assert command.interrupt() == 130
    assert len(command.err) == 1


STRUCK = """
import signal, sys, threading, time
from huey_otel.cli.main import main

def strike():
    me = threading.main_thread()
    state = f"/proc/self/task/{me.native_id}/stat"
    while (
        sys._current_frames()[me.ident].f_code.co_name != "wait"
        or open(state).read().rpartition(") ")[2][0] != "S"
    ):
        time.sleep(0.01)
    signal.pthread_kill(threading.get_ident(), signal.SIGNUM)

threading.Thread(target=strike, daemon=True).start()
nowhere = ["--redis", "redis://127.0.0.1:1", "--queue", "a", "--port", "0"]
sys.exit(main(["exporter", *nowhere]))
"""


@pytest.mark.parametrize(("signum", "code"), [("SIGTERM", 0), ("SIGINT", 130)])
def test_signal_that_another_thread_gets_ends_it_as_well(signum, code):
    done = run_program(STRUCK.replace("SIGNUM", signum))

    assert (done.returncode, done.stdout) == (code, "")


def test_it_begins_without_redis_and_finds_it_later(redis_server, export):
    redis_server.stop()
    command = export(*queue(redis_server))
    url = url_of(command)

    status, page = fetch(url)
    health = fetch(url.replace("/metrics", "/healthz"))[0]
    redis_server.start()

    assert (status, health) == (200, 503)
    assert "\nhuey_exporter_up 0.0\n" in page
    assert "\nhuey_exporter_up 1.0\n" in fetch(url)[1]


def test_a_port_that_is_taken_is_said(redis_server, export):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = export(
            *("--redis", redis_server.url, "--queue", "a"),
            *("--host", "127.0.0.1", "--port", port),
        )

        assert command.ended() == 2

    assert command.err == [
        f"huey-otel: port 127.0.0.1:{port} is taken; --port and --host set another"
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "the following arguments are required: --redis"),
        (["--redis", "redis://r"], "'redis://r': expected --queue NAME as well"),
        (["--redis", "amqp://r", "--queue", "a"], "'amqp://r': expected a Redis URL"),
        (
            ["--redis", "redis://r", "--queue", "a", "--port", "70000"],
            "--port 70000: expected a port from 0",
        ),
        (
            ["--redis", "redis://r", "--queue", "a", "--host", "a b"],
            "--host 'a b': expected a host name",
        ),
        (
            ["--redis", "redis://r", "--queue", "a", "--tz", "Mars/Base"],
            "--tz 'Mars/Base': expected the name of a time zone",
        ),
        (
            ["--redis", "redis://r", "--queue", "a", "--tz", "../../etc/passwd"],
            "--tz '../../etc/passwd': expected the name of a time zone",
        ),
    ],
    ids=str,
)
def test_a_wrong_argument_is_named(arguments, reason, export):
    command = export(*arguments)

    assert command.ended() == 2
    assert command.err[-1].startswith(f"huey-otel: {reason}")
    assert command.out == []


@pytest.mark.parametrize("way", ["file", "variable"])
def test_the_password_comes_from_a_file_or_the_environment(
    way, redis_server, export, tmp_path
):
    with redis.Redis.from_url(redis_server.url) as admin:
        admin.config_set("requirepass", "so-secret")
        path = tmp_path / "password"
        path.write_text("so-secret\n")
        more = {"variable": [], "file": ["--password-file", str(path)]}[way]
        environ = {"file": {}, "variable": {"REDISCLI_AUTH": "so-secret"}}[way]

        command = export(*queue(redis_server, *more), **environ)
        page = fetch(url_of(command))[1]
        admin.config_set("requirepass", "")

    assert "\nhuey_exporter_up 1.0\n" in page
    assert "so-secret" not in "".join(command.err)


def test_it_needs_nothing_of_the_extra():
    done = run_program(
        """
        import sys

        class Blocked:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in ("rich", "flask"):
                    raise ImportError(name)

        sys.meta_path.insert(0, Blocked())
        from huey_otel.cli.exporter import answers, look
        from huey_otel._prometheus.endpoint import Endpoint
        """
    )

    assert (done.returncode, done.stderr) == (0, "")
