"""The percentiles that the dashboards show, beside what each attempt really took."""

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.live.processes import Consumer, Program
from tests.live.received_events import ReceivedEvents
from tests.live.scraping import Prometheus, serves
from tests.support.dashboards import Query
from tests.support.programs import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

RUNS = 20
AT_MOST = 0.25
"""How far a p95 between 10 ms and 10 s may be off."""

FIVE_MINUTES = {"seconds": 300, "rate": 300}
OF_ALL_TASKS = (Query("overview", "Where the time goes", "C"),)
OF_ONE_TASK = (Query("task", "Run p95"), Query("task", "Run percentiles", "B"))


@pytest.mark.timeout(120)
def test_p95_is_off_by_a_quarter_at_most_on_each_panel_and_page(
    consumer: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    keep: Callable[[Program], Program],
    received: ReceivedEvents,
    redis_url: str,
    tmp_path: Path,
) -> None:
    app = application("sleeping")
    endpoint, exporter = free_port(), free_port()
    keep(
        Program(
            *("-m", "huey_otel", "exporter", "--redis", redis_url, "--queue", "live"),
            *("--port", str(exporter)),
            log=tmp_path / "exporter.log",
            environ={},
        )
    )
    wait_until(lambda: serves(exporter))
    consumer(
        *("thread", "-w", str(RUNS)),
        application="sleeping",
        HUEY_OTEL_METRICS_PORT=str(endpoint),
        HUEY_OTEL_PUBLISH_METRICS="1",
    )
    wait_until(lambda: serves(endpoint))
    viewers = [
        Prometheus(tmp_path / shape, port)
        for shape, port in (("endpoint", endpoint), ("exporter", exporter))
    ]
    for viewer in viewers:
        keep(viewer)
        viewer.wait_until_ready()
        wait_until(lambda v=viewer: v.values("count(huey_workers)") == {(): 1})

    # A histogram begins with its first attempt, of which a rate knows nothing.
    for task in app.TASKS.values():
        task(0)
    all_have(viewers, len(app.TASKS))
    # Each size in its own time, from two thirds of it to the whole.
    for size, task in app.TASKS.items():
        for number in range(RUNS):
            task(size * (2 + (number + 1) / RUNS) / 3)
    total = (RUNS + 1) * len(app.TASKS)
    wait_until(lambda: len(durations(received)) == total)
    all_have(viewers, total)

    took: dict[str, list[float]] = {}
    for name, seconds in durations(received)[len(app.TASKS) :]:
        took.setdefault(name, []).append(seconds)
    for viewer in viewers:
        shown = {
            (query, task): seconds
            for query in OF_ALL_TASKS
            for (task,), seconds in viewer.values(
                query.text(**FIVE_MINUTES), "task"
            ).items()
        } | {
            (query, name): viewer.values(query.text(**FIVE_MINUTES, task=name))[()]
            for query in OF_ONE_TASK
            for name in took
        }
        assert len(shown) == 3 * len(took) == 3 * len(app.SECONDS)
        for (query, name), seconds in shown.items():
            true = sorted(took[name])[math.ceil(0.95 * RUNS) - 1]
            assert 0.01 < true < 10
            assert seconds == pytest.approx(true, rel=AT_MOST), (query, name)


def all_have(viewers: list[Prometheus], number: int) -> None:
    """Wait until each has the times of *number* attempts."""
    counted = "sum(huey_task_duration_seconds_count)"
    for viewer in viewers:
        wait_until(lambda v=viewer: v.values(counted) == {(): number})


def durations(received: ReceivedEvents) -> list[tuple[str, float]]:
    """The task and the seconds of each attempt that a listener has heard end."""
    return [
        (event["name"], event["duration"])
        for event in list(received.events)
        if event["status"] == "finished"
    ]
