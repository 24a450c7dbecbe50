"""Children and orphans of a consumer go on; an idle consumer uses no CPU."""

import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from runtime import otlp_receiver as otlp
from tests.live.processes import Consumer, cpu_seconds
from tests.live.proof import of_kind
from tests.live.received_events import FINISHED, STARTED, ReceivedEvents, steps
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

KINDS = ("thread", "process")
WHILE = 3.0


def cpu_while_idle(*families: list[int]) -> list[float]:
    """Processor time that each of *families* of processes uses in three seconds."""
    before = [sum(map(cpu_seconds, family)) for family in families]
    start = time.monotonic()
    wait_until(lambda: time.monotonic() - start > WHILE)
    return [
        sum(map(cpu_seconds, family)) - used
        for family, used in zip(families, before, strict=True)
    ]


def test_orphans_of_a_killed_consumer_go_on_with_spans_and_do_not_spin(
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger"
    app = application("kills", LIVE_LEDGER=str(ledger))
    with otlp.receiver() as receiver:
        running = consumer(
            *("process", "-n", "-w", "2"),
            application="kills",
            OTEL_BSP_SCHEDULE_DELAY="200",
            **receiver.environ,
        )
        first = app.work(1, 0)
        received.wait_for(first.id, 2)
        running.wait_until_started()
        # The scheduler and the workers.
        orphans = running.children()
        assert len(orphans) == 3
        # The main process exports it, and would take it along.
        wait_until(lambda: of_kind(receiver.spans, "CONSUMER").keys() == {first.id})

        running.kill()
        # More events than a pipe holds, if a process kept it open.
        tasks = {app.work(number, 0).id for number in range(2, 2_002)}
        wait_until(lambda: ledger.read_text().count("ended") == 2_001)
        tasks.add(first.id)
        wait_until(lambda: of_kind(receiver.spans, "CONSUMER").keys() == tasks)
        # They may have something left to do; one that spins never ends.
        used = [cpu_while_idle(orphans)[0]]
        while used[-1] >= 0.3 and len(used) < 3:
            used += cpu_while_idle(orphans)

    assert used[-1] < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_idle_consumer_uses_no_more_than_a_bare_one(
    kind: str,
    redis_server: RedisServer,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
) -> None:
    app = application()
    bare_url = redis_server.url.removesuffix("0") + "1"
    bare = consumer(kind, "-w", "2", application="bare", url=bare_url)
    ours = consumer(kind, "-w", "2")
    for _ in range(20):
        last = app.add(1, 2)
    received.wait_for(last.id, 2)
    bare.wait_until_started()
    wait_until(lambda: " observes" in ours.log)
    families = [[program.pid, *program.children()] for program in (bare, ours)]

    # What its start has left to do, and a periodic task each minute, is soon over.
    found = []
    for _ in range(3):
        bare_used, used = cpu_while_idle(*families)
        found.append(used - bare_used)
        if found[-1] < 0.1:
            return
    pytest.fail(f"{found} s of processor time more")


@pytest.mark.parametrize("kind", KINDS)
def test_task_may_fork(
    kind: str,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
) -> None:
    app = application()
    running = consumer(kind, "-n", "-w", "2")

    tasks = [app.fork() for _ in range(20)]

    for task in tasks:
        assert steps(received.wait_for(task.id, 2)) == [STARTED, FINISHED]
    wait_until(
        lambda: (
            sum(e["task"] == "add" for e in list(received.events)) == 2 * len(tasks)
        ),
    )
    assert running.stop() == 0
    assert {event["status"] for event in received.events} == {
        "started",
        "finished",
    }
