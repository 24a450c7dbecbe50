"""The target: what its text names, and where a password comes from."""

import argparse
import sys

import pytest
from redis.connection import parse_url

from huey_otel.cli import target
from huey_otel.cli.main import main
from huey_otel.cli.target import (
    PASSWORD_VARIABLE,
    Address,
    CannotLookError,
    target_of,
)


def found(*arguments):
    parser = argparse.ArgumentParser()
    target.add_arguments(parser, address=True)
    return target_of(parser.parse_args(arguments))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost:9464", "localhost", 9464),
        ("10.0.0.7:9464", "10.0.0.7", 9464),
        ("[::1]:9464", "::1", 9464),
        ("http://web-1:9464", "web-1", 9464),
        ("http://web-1:9464/metrics", "web-1", 9464),
    ],
)
def test_an_address_is_a_host_and_a_port(text, host, port):
    assert found(text) == Address(host, port)


def test_queues_are_named_once_each():
    queues = found("redis://cache:6380/2", *("--queue", "b", "--queue", "a") * 2)

    assert (queues.redis.address, queues.names) == ("redis://cache:6380", ("b", "a"))


PASSWORD = "s3 cret/@:%#?é"
URLS = {
    "redis://cache:6380/2": {"host": "cache", "port": 6380, "db": 2},
    "redis://me@cache": {"username": "me", "host": "cache"},
    "redis://me:@cache": {"username": "me", "host": "cache"},
    "redis://[::1]:6380": {"host": "::1", "port": 6380},
    "rediss://cache?db=3": {"host": "cache", "db": 3},
    "unix:///run/redis.sock?db=1": {"path": "/run/redis.sock", "db": 1},
}


@pytest.mark.parametrize(("url", "settings"), URLS.items(), ids=URLS)
@pytest.mark.parametrize("way", ["file", "environment"])
def test_a_password_goes_to_the_server_and_nowhere_else(
    tmp_path, monkeypatch, url, settings, way
):
    arguments = [url, "--queue", "q"]
    if way == "file":
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        arguments += ["--password-file", str(tmp_path / "password")]
        monkeypatch.setenv(PASSWORD_VARIABLE, "wrong")
    else:
        monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)

    queues = found(*arguments)

    made = queues.redis.connections.to_ask().connection_pool.connection_kwargs
    assert {key: made.get(key) for key in (*settings, "password")} == settings | {
        "password": PASSWORD
    }
    assert PASSWORD not in repr(queues)


@pytest.mark.parametrize(
    "url", ["redis://:own@cache", "redis://cache?password=own", "redis://me:own@cache"]
)
def test_the_password_of_the_url_stays(monkeypatch, url):
    monkeypatch.setenv(PASSWORD_VARIABLE, "other")

    queues = found(url, "--queue", "q")

    made = queues.redis.connections.to_ask().connection_pool.connection_kwargs
    assert made["password"] == parse_url(url)["password"] == "own"


WRONG = {
    "no queue": (["redis://cache"], "'redis://cache': expected --queue NAME as well"),
    "a queue of an application": (
        ["app.huey", "--queue", "q"],
        "--queue is for a Redis, and TARGET is 'app.huey'",
    ),
    "a password of an address": (
        ["localhost:9464", "--password-file", "x"],
        "--password-file is for a Redis, and TARGET is 'localhost:9464'",
    ),
    "a file that is not there": (
        ["redis://cache", "--queue", "q", "--password-file", "/nowhere"],
        "--password-file /nowhere: [Errno 2] No such file or directory: '/nowhere'",
    ),
    "no Redis": (
        ["amqp://cache", "--queue", "q"],
        "'amqp://cache': expected a Redis URL: redis://, rediss:// or unix://",
    ),
    "a password that is not quoted": (
        ["redis://:a/b@cache", "--queue", "q"],
        "'redis://cache': expected a Redis URL: redis://, rediss:// or unix://; a"
        " password in it needs its special characters as %XX, --password-file does not",
    ),
    "a user at an address": (
        ["http://me:s3cret@localhost:9464"],
        "'http://localhost:9464': expected HOST:PORT, without a user or a password",
    ),
    "an empty name": (
        ["redis://cache", "--queue", "q", "--queue", ""],
        "--queue '': expected the name of a queue, a str that is not empty",
    ),
    "a name that is no text": (
        ["redis://cache", "--queue", "\udcff"],
        r"--queue '\udcff': expected the name of a queue",
    ),
    "a port that is too large": (
        ["localhost:99999"],
        "'localhost:99999': expected a port from 1 to 65535",
    ),
    "a port of too many digits": (
        ["localhost:100000"],
        "'localhost:100000': expected a port from 1 to 65535",
    ),
    "no port": (["localhost:0"], "'localhost:0': expected a port from 1 to 65535"),
    "a name alone": (
        ["cache"],
        "'cache': expected MODULE.NAME of a Huey instance, such as app.huey, or the URL"
        " of a Redis with --queue, such as redis://cache:6379",
    ),
}


@pytest.mark.parametrize(("arguments", "reason"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_a_target_is_named(arguments, reason):
    with pytest.raises(CannotLookError) as error:
        found(*arguments)

    assert str(error.value).startswith(reason)


def test_a_file_without_text_is_named(tmp_path):
    path = tmp_path / "password"
    path.write_bytes(b"\xff")

    with pytest.raises(CannotLookError, match=r"--password-file .*: 'utf-8' codec"):
        found("redis://cache", "--queue", "q", "--password-file", str(path))


@pytest.mark.parametrize("command", ["check", "tail", "top"])
def test_a_wrong_variable_of_an_application_that_is_not_instrumented_is_named(
    command, capsys, monkeypatch
):
    monkeypatch.setenv("LIVE_QUEUE_URL", "redis://127.0.0.1:1")
    monkeypatch.setenv("LIVE_BARE", "1")
    monkeypatch.setenv("HUEY_OTEL_TRACEBACKS", "maybe")
    monkeypatch.delitem(sys.modules, "tests.live.apps.checked", raising=False)

    code = main([command, "tests.live.apps.checked.huey"])

    sys.modules.pop("tests.live.apps.checked")
    said = capsys.readouterr().err
    assert (code, "HUEY_OTEL_TRACEBACKS='maybe': expected" in said) == (2, True)
    assert "Traceback" not in said
