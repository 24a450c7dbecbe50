"""A listener knows how many events it has missed, whatever becomes of consumers."""

import json
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest
import redis

from tests.live.processes import Consumer, Program, losses
from tests.live.received_events import ReceivedEvents
from tests.live.scraping import metrics, samples, serves
from tests.support.commands import Command
from tests.support.programs import free_port, snippet
from tests.support.waiting import wait_until


def numbers(events: Iterable[dict[str, object]]) -> dict[str, list[int]]:
    """The numbers of the events of each publisher, in the order in which they came."""
    found = defaultdict(list)
    for event in events:
        if "publisher" in event:
            found[event["publisher"]].append(event["seq"])
    return dict(found)


def counts(received: ReceivedEvents) -> tuple[int, int]:
    return received.listener.missed, received.listener.repeated


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_consumers_that_come_and_go_count_for_themselves(
    kind: str,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    receive_events: Callable[..., ReceivedEvents],
) -> None:
    received = receive_events()
    app = application()
    tasks = []

    def run_until(publishers: int) -> None:
        """Run tasks until that many publishers have been heard in all."""
        while len(numbers(list(received.events))) < publishers:
            tasks.append(app.add(1, 2))
            wait_until(lambda: len(received.events) == 2 * len(tasks))

    first = consumer(kind, "-n", "-w", "2")
    run_until(1)
    late = receive_events()
    before = 2 * len(tasks)
    second = consumer(kind, "-n", "-w", "2")
    run_until(2)
    second.send(signal.SIGHUP)
    run_until(3)
    first.stop()
    third = consumer(kind, "-n", "-w", "2")
    run_until(4)
    second.stop()
    third.stop()

    all_heard = numbers(received.catch_up())
    heard_late = numbers(late.catch_up())
    assert sum(map(len, all_heard.values())) == 2 * len(tasks)
    assert all(each == list(range(1, len(each) + 1)) for each in all_heard.values())
    assert sum(map(len, heard_late.values())) == 2 * len(tasks) - before
    assert counts(received) == counts(late) == (0, 0)


def test_what_worker_processes_sum_up_is_missed(
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    redis_url: str,
    tmp_path: Path,
) -> None:
    environ = {
        "LIVE_DATABASE": str(tmp_path / "queue.db"),
        "LIVE_LEDGER": str(tmp_path / "ledger"),
        "LIVE_EVENTS_URL": redis_url,
    }
    app = application("events_elsewhere", **environ)
    enqueued = 0

    def ran() -> int:
        path = tmp_path / "ledger"
        return len(path.read_text().split()) if path.exists() else 0

    def enqueue(number: int, size: int) -> None:
        nonlocal enqueued
        enqueued += number
        for _ in range(number):
            app.work(size)
        wait_until(lambda: ran() == enqueued)

    running = consumer(
        *("process", "-n", "-w", "2"),
        application="events_elsewhere",
        LIVE_DROPPED=str(tmp_path / "dropped"),
        **environ,
    )
    enqueue(4, 0)
    wait_until(lambda: len(received.events) == 8)

    running.send(signal.SIGSTOP)
    # More than the pipe and both workers have room for.
    enqueue(400, 15_000)
    running.send(signal.SIGCONT)

    def told() -> int:
        return len(received.events) + received.listener.missed

    # Sums come behind all else, and a gap shows with the next event.
    def all_is_told() -> bool:
        enqueue(2, 0)
        return told() == 2 * enqueued

    wait_until(lambda: len(received.events) > 8)
    wait_until(all_is_told)
    enqueue(2, 0)
    running.stop()

    heard = len(received.catch_up())
    missed, repeated = counts(received)
    assert heard + missed == 2 * enqueued
    assert losses(tmp_path / "dropped") == {"relay": missed}
    assert missed > 0
    assert repeated == 0


@pytest.mark.parametrize("cut_off", [False, True], ids=["kept", "cut off"])
def test_a_subscriber_that_is_stopped_for_ten_seconds_under_load_misses_what_it_says(
    cut_off: bool,  # noqa: FBT001 - of a parametrization
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    conn: redis.Redis,
    redis_url: str,
    tmp_path: Path,
) -> None:
    if cut_off:
        conn.config_set("client-output-buffer-limit", "pubsub 65536 65536 0")
    environ = {
        "LIVE_DATABASE": str(tmp_path / "queue.db"),
        "LIVE_LEDGER": str(tmp_path / "ledger"),
        "LIVE_EVENTS_URL": redis_url,
    }
    app = application("events_elsewhere", **environ)
    port = free_port()

    def published() -> int:
        """How many events the consumer says that it has published."""
        return sum(
            int(value)
            for (name, _), value in samples(metrics(port)).items()
            if name == "huey_events_total"
        )

    enqueued = 0

    def loaded_for(seconds: float, enough: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds

        def over() -> bool:
            nonlocal enqueued
            if len(app.huey) < 50:
                for _ in range(50):
                    app.work(15_000)
                enqueued += 50
            return time.monotonic() > until and enough()

        wait_until(over)

    def is_subscribed() -> bool:
        return conn.pubsub_numsub("live") == [(b"live", 1)]

    def missed(command: Command) -> int:
        said = [line.split() for line in command.err if line.endswith(" missed")]
        return sum(int(words[1].replace(",", "")) for words in said)

    with Command("tail", redis_url, "--queue", "live") as command:
        wait_until(is_subscribed)
        running = consumer(
            *("process", "-n", "-w", "2"),
            application="events_elsewhere",
            HUEY_OTEL_METRICS_PORT=str(port),
            LIVE_DROPPED=str(tmp_path / "dropped"),
            **environ,
        )
        wait_until(lambda: serves(port))
        loaded_for(1, lambda: bool(command.out))

        command.process.send_signal(signal.SIGSTOP)
        loaded_for(10, lambda: is_subscribed() is not cut_off)
        command.process.send_signal(signal.SIGCONT)
        wait_until(is_subscribed)
        wait_until(lambda: len(app.huey) == 0)
        wait_until(lambda: published() == 2 * enqueued)

        def all_is_told() -> bool:
            """A gap shows with the next event, so one more task runs each time."""
            before = published()
            app.work(0)
            wait_until(lambda: published() == before + 2)
            return len(command.out) + missed(command) == published()

        wait_until(all_is_told)
        told = len(command.out), missed(command)
        first = json.loads(command.out[0])["seq"]
    running.stop()

    assert first == 1
    assert losses(tmp_path / "dropped") == {}
    assert (told[1] > 0) is cut_off


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ({}, [25] * 5),
        # The program is two modules, so the parent has two hueys.
        ({"LIVE_USED": "1"}, [10, 25, 25, 25, 25, 10 + 25]),
    ],
    ids=["unused", "used"],
)
def test_producers_that_fork_count_for_themselves(
    used: dict[str, str],
    expected: list[int],
    keep: Callable[[Program], Program],
    received: ReceivedEvents,
    redis_url: str,
    tmp_path: Path,
) -> None:
    program = Program(
        *("-m", "tests.live.apps.forking_web", "fork"),
        log=tmp_path / "log",
        environ={
            "LIVE_QUEUE_URL": redis_url,
            "HUEY_OTEL_PUBLISH_ENQUEUED": "1",
            **used,
        },
    )
    keep(program)
    assert program.wait() == 0

    found = numbers(received.catch_up())
    assert sorted(map(len, found.values())) == expected
    assert all(each == list(range(1, len(each) + 1)) for each in found.values())
    assert counts(received) == (0, 0)


def test_the_listener_of_the_document_says_what_it_has_missed(
    keep: Callable[[Program], Program],
    conn: redis.Redis,
    redis_url: str,
    tmp_path: Path,
) -> None:
    code = snippet("docs/events.md", "missed")
    program = Program(
        *("-u", "-c", code.replace("redis://localhost:6379", redis_url)),
        log=tmp_path / "log",
        environ={},
    )
    keep(program)
    wait_until(lambda: conn.pubsub_numsub("myapp") == [(b"myapp", 1)])

    for seq in (7, 8, 12, 13):
        event = {"status": "finished", "name": f"app.{seq}"}
        conn.publish("myapp", json.dumps(event | {"publisher": "web-1", "seq": seq}))
    wait_until(lambda: "app.13" in program.log)

    assert program.log.splitlines() == [
        *("finished app.7", "finished app.8"),
        *("3 events missed", "finished app.12", "finished app.13"),
    ]
