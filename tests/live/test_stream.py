"""The stream of a real consumer, and listeners that are killed and resumed."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import redis

from tests.live.processes import Consumer, Program
from tests.live.received_events import ReceivedEvents
from tests.support.programs import snippet
from tests.support.waiting import wait_until

KEY = "huey.events.live"

# Each event is one write, so a kill leaves whole lines.
LISTENER = """
import os, sys
from huey_otel import EventListener

url, ledger, since = sys.argv[1:]
lines = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
with EventListener(url, "live", stream=True, since=since) as events:
    for event in events:
        told = event["publisher"], event["seq"], events.position, events.trimmed
        os.write(lines, f"{' '.join(map(str, told))}\\n".encode())
"""


@pytest.fixture
def admin(redis_url: str) -> redis.Redis:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def added(admin: redis.Redis) -> int:
    """How many events were ever added to the stream."""
    return int(admin.xinfo_stream(KEY)["entries-added"]) if admin.exists(KEY) else 0


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_listener_that_is_killed_and_resumed_knows_of_every_event(
    kind: str,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    keep: Callable[[Program], Program],
    admin: redis.Redis,
    redis_url: str,
    tmp_path: Path,
    record_property: Callable[..., None],
) -> None:
    app = application()
    running = consumer(kind, "-n", "-w", "2", HUEY_OTEL_STREAM="100")
    tasks = 0

    def work_until(ready: Callable[[], bool]) -> None:
        nonlocal tasks

        def is_ready() -> bool:
            nonlocal tasks
            for _ in range(20):
                app.add(1, 2)
            tasks += 20
            return ready()

        wait_until(is_ready)

    def lines(number: int) -> list[list[str]]:
        path = tmp_path / f"ledger-{number}"
        whole = path.read_text() if path.exists() else ""
        return [line.split() for line in whole.splitlines()]

    def listen(number: int, since: str) -> Program:
        path = str(tmp_path / f"ledger-{number}")
        words = ("-c", LISTENER, redis_url, path, since)
        started = Program(*words, log=tmp_path / f"log-{number}", environ={})
        keep(started)
        return started

    since = "beginning"
    listener = listen(0, since)
    for number in range(1, 4):
        work_until(lambda number=number: len(lines(number - 1)) > 300)
        listener.send(signal.SIGKILL)
        listener.wait()
        since = lines(number - 1)[-1][2]
        before = added(admin)
        # More than the stream keeps.
        work_until(lambda before=before: added(admin) > before + 500)
        listener = listen(number, since)
    wait_until(lambda: added(admin) == 2 * tasks)
    wait_until(lambda: bool(lines(3)) and lines(3)[-1][2].endswith(f"/{2 * tasks}"))
    running.stop()
    wait_until(lambda: lines(3)[-1][2].endswith(f"/{added(admin)}"))

    read = [line for number in range(4) for line in lines(number)]
    trimmed = [int(lines(number)[-1][3]) for number in range(4)]
    assert len({publisher for publisher, *_ in read}) == 1
    assert len({seq for _, seq, *_ in read}) == len(read)
    assert len(read) + sum(trimmed) == 2 * tasks == added(admin)
    assert all(one > 300 for one in trimmed[1:])
    record_property(
        "proof", {"published": 2 * tasks, "read": len(read), "trimmed": sum(trimmed)}
    )


def test_the_stream_has_what_is_published_in_its_order(
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    admin: redis.Redis,
    redis_url: str,
) -> None:
    app = application()
    running = consumer("process", "-n", "-w", "2", HUEY_OTEL_STREAM="on")

    for _ in range(100):
        app.add(1, 2)
    wait_until(lambda: added(admin) == 200)

    bodies = [json.loads(fields[b"body"]) for _, fields in admin.xrange(KEY)]
    assert bodies == received.catch_up()
    assert admin.ttl(KEY) > 6 * 86_400
    said = f"of {redis_url.removesuffix('/0')}, stream '{KEY}' of 10,000 entries"
    # A line of the log is wrapped, and comes behind the first tasks' ends.
    wait_until(lambda: said in " ".join(running.log.split()))


def test_a_retired_consumer_leaves_a_stream_that_expires(
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    admin: redis.Redis,
) -> None:
    app = application()
    app.add(1, 2)
    running = consumer("thread", "-n", HUEY_OTEL_STREAM="on")
    wait_until(lambda: added(admin) == 2)

    running.stop()

    assert 6 * 86_400 < admin.ttl(KEY) <= 7 * 86_400


def test_the_resuming_listener_in_the_document_resumes(
    keep: Callable[[Program], Program],
    admin: redis.Redis,
    redis_url: str,
    tmp_path: Path,
) -> None:
    code = snippet("docs/events.md", "resuming")
    code = code.replace("redis://localhost:6379", redis_url)
    code = code.replace('Path("position")', f'Path("{tmp_path}/position")')

    def add(name: str) -> str:
        body = f'{{"status": "started", "name": "{name}"}}'
        return admin.xadd("huey.events.myapp", {"body": body}).decode()

    def run(number: int, names: list[str], last: str) -> None:
        program = Program(
            *("-u", "-c", code), log=tmp_path / f"log-{number}", environ={}
        )
        keep(program)
        position = tmp_path / "position"
        wait_until(lambda: position.exists() and last in position.read_text())
        program.send(signal.SIGKILL)
        program.wait()
        assert program.log.split() == [
            word for name in names for word in ("started", name)
        ]

    add("a")
    run(1, ["a", "b"], add("b"))
    add("c")
    run(2, ["c", "d"], add("d"))
