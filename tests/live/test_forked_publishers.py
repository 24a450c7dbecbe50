"""Processes that fork while they write a stream and pages: each one is its own."""

import itertools
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis

from huey_otel import EventListener
from huey_otel._wire.page import index_of, key_of, unpack
from tests.live.processes import Consumer, Program, losses
from tests.live.scraping import fetch, samples, serves_anything, url_of
from tests.live.test_forking_producers import SERVERS, USED
from tests.support.programs import free_port
from tests.support.waiting import wait_to_read, wait_until

BOTH = {
    "HUEY_OTEL_STREAM": "on",
    "HUEY_OTEL_PUBLISH_METRICS": "1",
    "HUEY_OTEL_PUBLISH_ENQUEUED": "1",
}
REQUESTS = 60


@pytest.fixture
def admin(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def kept(admin: redis.Redis) -> list[dict[str, Any]]:
    """The events of the stream."""
    return [
        json.loads(fields[b"body"]) for _, fields in admin.xrange("huey.events.live")
    ]


def numbers(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    """The numbers of each publisher, in the order of the stream."""
    found: dict[str, list[int]] = {}
    for event in events:
        found.setdefault(event["publisher"], []).append(event["seq"])
    return found


def assert_whole(admin: redis.Redis, url: str) -> None:
    """Each publisher's numbers are 1, 2, 3 ..., and a listener misses none."""
    found = numbers(kept(admin))
    assert found == {name: [*range(1, len(each) + 1)] for name, each in found.items()}
    total = sum(map(len, found.values()))
    with EventListener(url, "live", stream=True, since="beginning") as listener:
        heard = len([*itertools.islice(listener, total)])
        counted = listener.missed, listener.repeated, listener.trimmed
    assert (heard, *counted) == (total, 0, 0, 0)


def owners(admin: redis.Redis) -> set[int]:
    """The processes that have left a page."""
    names = admin.zrange(index_of("live"), 0, -1)
    keys = admin.keys(key_of("live", "*"))
    assert {key_of("live", name.decode()).encode() for name in names} == set(keys)
    return {int(name.split(b":")[1]) for name in names}


@pytest.mark.proof_but("gunicorn that preloads-used", "uwsgi-used")
@USED
@pytest.mark.parametrize("server", SERVERS)
def test_each_child_of_a_web_server_is_a_publisher_of_its_own(
    server: str,
    used: bool,  # noqa: FBT001 - a parameter of the test
    keep: Callable[[Program], Program],
    admin: redis.Redis,
    redis_url: str,
    tmp_path: Path,
) -> None:
    executable, arguments, more = SERVERS[server]
    port = free_port()
    program = Program(
        *arguments,
        *(f"127.0.0.1:{port}", *more),
        log=tmp_path / "log",
        environ={"LIVE_QUEUE_URL": redis_url}
        | BOTH
        | ({"LIVE_USED": "1"} if used else {})
        # The master of uWSGI runs no thread once it has forked.
        | ({"LIVE_FLUSH": "1"} if server == "uwsgi" else {}),
        executable=executable,
    )
    keep(program)
    wait_until(lambda: serves_anything(port))
    with ThreadPoolExecutor(6) as clients:
        asked = clients.map(lambda _: fetch(url_of(port, "/")), range(REQUESTS))
    answers = [json.loads(body) for status, body in asked if status == 200]
    assert len(answers) == REQUESTS
    sent = {answer["id"] for answer in answers}
    wait_until(lambda: sent <= {event["id"] for event in kept(admin)})
    program.stop(signal.SIGTERM)

    events = kept(admin)
    assert Counter(event["id"] for event in events).most_common(1)[0][1] == 1
    assert len(events) == admin.llen("huey.redis.live")
    by_id = {event["id"]: event for event in events}
    for answer in answers:
        publisher = by_id[answer["id"]]["publisher"]
        assert publisher.split(":")[1] == str(answer["pid"])
    assert_whole(admin, redis_url)
    # Only consumers leave pages.
    assert owners(admin) == set()


@pytest.mark.proof_but("fork-used")
@USED
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_each_child_of_multiprocessing_is_a_publisher_of_its_own(
    method: str,
    used: bool,  # noqa: FBT001 - a parameter of the test
    keep: Callable[[Program], Program],
    admin: redis.Redis,
    redis_url: str,
    tmp_path: Path,
) -> None:
    program = Program(
        *("-m", "tests.live.apps.forking_web", method),
        log=tmp_path / "log",
        environ={"LIVE_QUEUE_URL": redis_url}
        | BOTH
        | ({"LIVE_USED": "1"} if used else {}),
    )
    keep(program)
    assert program.wait() == 0

    events = kept(admin)
    assert len(events) == admin.llen("huey.redis.live") >= 125
    publishers = {event["publisher"]: event["pid"] for event in events}
    assert {name.split(":")[1] for name in publishers} == set(
        map(str, publishers.values())
    )
    assert_whole(admin, redis_url)
    assert owners(admin) == set()


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_tasks_that_fork_have_one_publisher_and_one_page(
    kind: str,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    admin: redis.Redis,
    redis_url: str,
    tmp_path: Path,
) -> None:
    app = application("forks")
    forks, each = 20, 10
    running = consumer(
        *(kind, "-n", "-w", "4"),
        application="forks",
        LIVE_DROPPED=str(tmp_path / "dropped"),
        **BOTH,
    )
    for _ in range(forks):
        app.fork(each)
    total = forks * (1 + each)

    def finished() -> int:
        return sum(event["status"] == "finished" for event in kept(admin))

    wait_to_read(finished, total)
    running.wait_until_started()
    assert running.stop() == 0

    assert {name.split(":")[1] for name in numbers(kept(admin))} == {str(running.pid)}
    assert_whole(admin, redis_url)
    assert losses(tmp_path / "dropped") == {}
    assert owners(admin) == {running.pid}
    ((name,),) = [admin.zrange(index_of("live"), 0, -1)]
    head, text = unpack(admin.get(key_of("live", name.decode())))
    ended = sum(
        number
        for (metric, _), number in samples(text).items()
        if metric == "huey_tasks_finished_total"
    )
    assert (head.ended, ended) == (True, total)
