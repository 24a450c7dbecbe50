"""The listener: what it skips, and what it says when it cannot listen."""

import itertools
import logging
import socketserver
import threading
import time
from contextlib import contextmanager

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
    subscribe = listener._reader.open
    listener._reader.open = lambda: tries.append(1) or subscribe()

    wait_until(lambda: len(tries) > 2)

    (line,) = warnings(caplog)
    assert line.startswith(
        f"no events can be heard on 'q' at redis://127.0.0.1:{server.port},"
        " trying again: "
    )
    assert reason in line.lower()  # Redis 8 begins it with a capital
    assert "secret" not in line


def test_a_redis_that_is_away_is_logged_once_per_streak(
    server, admin, listening, caplog
):
    listener = listening(server.url, "q")
    where = f"'q' at redis://127.0.0.1:{server.port}"
    for streak in (1, 2):
        server.kill()
        wait_until(lambda: listener.away is not None)
        server.start()
        wait_until(lambda streak=streak: len(warnings(caplog)) == 2 * streak)
        assert listener.away is None

    away, again = f"no events can be heard on {where}, trying", f"again on {where}"
    assert [away in line or again in line for line in warnings(caplog)] == [True] * 4
    assert [again in line for line in warnings(caplog)] == [False, True] * 2


ANSWERS = {
    "a status": b"+OK\r\n",
    "a number": b":1\r\n",
    "a text": b"$1\r\nq\r\n",
    "no text": b"$-1\r\n",
    "an empty list": b"*0\r\n",
    "numbers": b"*3\r\n:1\r\n:2\r\n:3\r\n",
    "a short message": b"*2\r\n$7\r\nmessage\r\n$1\r\nq\r\n",
    "no subscription": b"*3\r\n$7\r\nmessage\r\n$1\r\nq\r\n$1\r\nq\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_server_that_answers_anything_is_away(answer, listening):
    with answering(answer) as (url, _):
        assert listening(url, "q").away is not None


SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nq\r\n:1\r\n"


def test_a_server_that_ends_each_subscription_gets_longer_and_longer_pauses(
    listening, caplog
):
    with answering(SUBSCRIBED, b"") as (url, accepted):
        listening(url, "q")
        wait_until(lambda: len(accepted) > 4)

    pauses = [two - one for one, two in itertools.pairwise(accepted[:5])]
    assert pauses[2] > 0.1
    assert pauses[3] > 0.2
    assert len(warnings(caplog)) == 1


@contextmanager
def answering(*answers):
    """A server that answers commands in turn, and then ends the connection.

    The last answer serves for all commands that follow, unless it is empty. Yields
    its URL, and when it was connected to.
    """
    accepted = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            accepted.append(time.monotonic())
            rest = itertools.chain(answers, itertools.repeat(answers[-1]))
            while self.request.recv(10_000) and (answer := next(rest)):
                self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"redis://127.0.0.1:{server.server_address[1]}", accepted
        server.shutdown()
        thread.join()


def test_a_listener_is_made_while_its_redis_hangs(server, caplog):
    retry = redis.retry.Retry(redis.backoff.ConstantBackoff(60), 10)
    client = redis.Redis.from_url(server.url, retry=retry, username="default")
    server.pause()

    listener = EventListener(client, "q")

    server.resume()
    listener.close()
    client.close()
    assert len(warnings(caplog)) == 1
