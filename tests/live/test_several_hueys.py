"""Several hueys of one process, with one page, one relay, and what else they share."""

from collections import Counter
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
from huey import MemoryHuey
from huey.serializer import Serializer
from prometheus_client import CollectorRegistry, generate_latest

from huey_otel import _names as n
from tests.live.processes import Program
from tests.live.received_events import ReceivedEvents
from tests.live.scraping import samples
from tests.support.recorded import Drain, Recorded


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_consumers_of_one_process_share_a_page_and_count_no_task_twice(
    kind: str,
    keep: Callable[[Program], Program],
    receive_events: Callable[..., ReceivedEvents],
    redis_url: str,
    tmp_path: Path,
) -> None:
    by_queue = {name: receive_events(name) for name in ("live", "second")}
    program = Program(
        *("-m", "tests.live.apps.several_hueys", kind),
        log=tmp_path / "log",
        environ={"LIVE_QUEUE_URL": redis_url},
    )
    keep(program)
    assert program.wait(120) == 0

    page = samples(program.log)
    counted = {
        dict(labels)["queue"]: value
        for (metric, labels), value in page.items()
        if metric == n.TASK_ATTEMPTS_TOTAL and value
    }
    assert counted == {"live": 100, "second": 100}
    for name, received in by_queue.items():
        steps = Counter((e["status"], e["id"]) for e in received.catch_up())
        assert set(steps.values()) == {1}
        assert {e["queue"] for e in received.events} == {name}
        assert (
            received.count("started"),
            received.count("finished"),
        ) == (100, 100)


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_hueys_that_share_everything_are_uninstrumented_in_any_order(
    order: tuple[int, ...],
) -> None:
    registry, serializer = CollectorRegistry(), Serializer()
    hueys = [MemoryHuey(name, serializer=serializer) for name in ("a", "a", "b")]
    tasks = [huey.task()(int) for huey in hueys]
    seen = [Recorded(huey, registry=registry) for huey in hueys]

    for gone, leaving in enumerate(order):
        for task, huey in zip(tasks, hueys, strict=True):
            task(1)
            Drain(huey)()
        for place in order[gone:]:
            started, finished = seen[place].published
            assert (started["status"], finished["status"]) == ("started", "finished")
            # The carrier brought it.
            assert started["wait"] is not None
            seen[place].clear()
        seen[leaving].instrumentation.uninstrument()

    assert type(serializer) is Serializer
    assert {type(huey) for huey in hueys} == {MemoryHuey}
    assert generate_latest(registry) == b""
