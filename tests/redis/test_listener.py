"""The listener: what it skips, and what it says when it cannot listen."""

import logging
import threading

import pytest
import redis
import redis.backoff
import redis.retry

from huey_otel import EventListener
from tests.support.redis_server import serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.live


server = pytest.fixture(serving)


@pytest.fixture
def admin(server):
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def listening():
    """Iterates a listener on a thread, and keeps its events."""
    listeners, threads = [], []

    def listen(*args):
        listeners.append(EventListener(*args))
        heard = []
        listeners[-1].heard = heard
        threads.append(
            threading.Thread(target=lambda: heard.extend(listeners[-1]), daemon=True)
        )
        threads[-1].start()
        return listeners[-1]

    yield listen
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(10)


@pytest.mark.parametrize("options", ["", "?decode_responses=True", "?protocol=3"])
def test_a_message_that_cannot_be_decoded_is_skipped_and_counted(
    server, admin, listening, options
):
    listener = listening(server.url + options, "q")

    admin.publish("q", b"\xff\xfe")
    admin.publish("q", b'{"status": "finished"}')

    wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])
    wait_until(lambda: listener.skipped == 1)


def warnings(caplog):
    return [
        entry.getMessage()
        for entry in caplog.records
        if (entry.name, entry.levelno) == ("huey.otel", logging.WARNING)
    ]


REFUSALS = {
    "no password": ("redis://127.0.0.1:{}", "uthentication required"),
    "wrong password": ("redis://:secret@127.0.0.1:{}", "invalid username-password"),
    "no permission": ("redis://deaf:deaf@127.0.0.1:{}", "no permissions"),
}


@pytest.mark.parametrize(("url", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_a_refused_listener_logs_once_and_tries_again(
    server, admin, listening, caplog, url, reason
):
    admin.execute_command(
        *("ACL", "SETUSER", "deaf", "on", ">deaf", "+@all", "resetchannels")
    )
    admin.config_set("requirepass", "right")
    tries = []
    listener = listening(url.format(server.port), "q")
    subscribe = listener._subscribe
    listener._subscribe = lambda: tries.append(1) or subscribe()

    wait_until(lambda: len(tries) > 2)

    (line,) = warnings(caplog)
    assert line.startswith(
        f"no events can be heard on 'q' at redis://127.0.0.1:{server.port},"
        " trying again: "
    )
    assert reason in line
    assert "secret" not in line


def test_a_redis_that_is_away_is_logged_once_per_streak(
    server, admin, listening, caplog
):
    listening(server.url, "q")
    for streak in (1, 2):
        server.kill()
        wait_until(lambda streak=streak: len(warnings(caplog)) == streak)
        server.start()
        wait_until(lambda: admin.pubsub_numsub("q") == [(b"q", 1)])

    assert len(warnings(caplog)) == 2


def test_a_listener_is_made_while_its_redis_hangs(server, caplog):
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(60), 10)
    client = redis.Redis.from_url(server.url, retry=retry, username="default")
    server.pause()

    listener = EventListener(client, "q")

    server.resume()
    listener.close()
    client.close()
    assert len(warnings(caplog)) == 1
