"""The events of each way in which a task can end."""

import datetime
import os
import signal
import time
from collections.abc import Callable
from types import ModuleType

import pytest
import redis

from tests.live.processes import Consumer
from tests.live.received_events import (
    ERROR_TASK,
    FAILED,
    FINISHED,
    RETRYING,
    SCHEDULED,
    STARTED,
    ReceivedEvents,
    step,
    steps,
)
from tests.support.waiting import wait_until

KINDS = ("thread", "process")
DELAY = 5


class Scene:
    """A consumer with one worker, its application, and all events received."""

    def __init__(
        self, app: ModuleType, received: ReceivedEvents, running: Consumer
    ) -> None:
        self.app = app
        self.received = received
        self.consumer = running

    def story(self, task_id: str, count: int) -> list:
        """All events of a task: *count*, and none after them."""
        self.received.wait_for(task_id, count)
        self.ring()
        return self.received.of(task_id)

    def ring(self) -> None:
        """Return when the worker has done all tasks now on the queue."""
        self.received.wait_for(self.app.add(0, 0).id, 2)


@pytest.fixture(params=KINDS)
def scene(
    request: pytest.FixtureRequest,
    consumer: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    received: ReceivedEvents,
) -> Scene:
    return Scene(application(), received, consumer(request.param, "-c", "0.2"))


def test_simple_task(scene: Scene) -> None:
    task = scene.app.add(1, 2)

    story = scene.story(task.id, 2)

    assert steps(story) == [STARTED, FINISHED]
    assert [event["task"] for event in story] == ["add", "add"]
    assert {event["name"] for event in story} == {"tests.live.apps.outcomes.add"}
    assert story[1]["timestamp"] == story[0]["timestamp"] + story[1]["duration"]


def test_scheduled_task(scene: Scene) -> None:
    scene.ring()
    before = time.time()
    # A worker that sees it only when it is due puts it on no schedule.
    task = scene.app.add.schedule((1, 2), delay=DELAY)
    after = time.time()

    story = scene.story(task.id, 3)

    assert steps(story) == [SCHEDULED, STARTED, FINISHED]
    # huey rounds to microseconds.
    assert before - 1e-5 <= story[0]["execute_time"] - DELAY <= after + 1e-5
    assert story[1]["timestamp"] >= story[0]["execute_time"]


def test_retried_task_with_a_delay(scene: Scene) -> None:
    task = scene.app.fail_first_and_wait("key")

    story = scene.story(task.id, 6)

    assert steps(story) == [
        *(STARTED, ERROR_TASK, RETRYING, SCHEDULED),
        *(STARTED, FINISHED),
    ]
    assert [event["retries"] for event in story] == [1, 1, 0, 0, 0, 0]
    assert [event["attempt"] for event in story] == [1, 1, 1, 2, 2, 2]
    assert story[1]["exception"] == "ValueError"
    assert "ValueError: not yet" in story[1]["traceback"]


def test_retried_task_without_a_delay(scene: Scene) -> None:
    task = scene.app.fail_first("key")

    story = scene.story(task.id, 5)

    assert steps(story) == [STARTED, ERROR_TASK, RETRYING, STARTED, FINISHED]


def test_task_that_fails_each_time(scene: Scene) -> None:
    task = scene.app.fail("no")

    story = scene.story(task.id, 5)

    assert steps(story) == [STARTED, ERROR_TASK, RETRYING, STARTED, ERROR_TASK]
    assert [event["retries"] for event in story] == [1, 1, 0, 0, 0]


def test_task_that_asks_to_be_retried(scene: Scene) -> None:
    task = scene.app.ask_for_retry("key")

    story = scene.story(task.id, 4)

    assert steps(story) == [STARTED, RETRYING, STARTED, FINISHED]
    assert [event["retries"] for event in story] == [0, 0, 0, 0]


def test_locked_task(scene: Scene) -> None:
    with scene.app.huey.lock_task("the-lock"):
        story = scene.story(scene.app.lock().id, 2)

    assert steps(story) == [STARTED, step("locked", "duration")]


def test_task_that_a_semaphore_has_no_room_for(scene: Scene) -> None:
    story = scene.story(scene.app.find_no_room().id, 2)

    assert steps(story) == [STARTED, step("locked", "duration")]


def test_revoked_task(scene: Scene) -> None:
    task = scene.app.add.s(1, 2)
    scene.app.huey.revoke(task)
    scene.app.huey.enqueue(task)

    assert steps(scene.story(task.id, 1)) == [step("revoked")]


def test_expired_task(scene: Scene) -> None:
    ended = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    task = scene.app.add.s(1, 2, expires=ended)
    scene.app.huey.enqueue(task)

    assert steps(scene.story(task.id, 1)) == [step("expired")]


def test_canceled_task(scene: Scene) -> None:
    story = scene.story(scene.app.cancel().id, 2)

    assert steps(story) == [STARTED, step("canceled", "duration")]


def test_pipeline(scene: Scene) -> None:
    first = scene.app.add.s(1, 2).then(scene.app.add, 3)
    scene.app.huey.enqueue(first)

    second = scene.story(first.on_complete.id, 2)

    assert steps(scene.received.of(first.id)) == [STARTED, FINISHED]
    assert steps(second) == [STARTED, FINISHED]


def test_periodic_task(scene: Scene) -> None:
    wait_until(lambda: "tick" in [event["task"] for event in scene.received.events])
    task_id = next(e["id"] for e in scene.received.events if e["task"] == "tick")

    story = scene.story(task_id, 3)

    # Once a minute, and a busy machine takes one.
    assert steps(scene.received.of(None))[:1] == [step("checking-periodic")]
    assert steps(story) == [step("scheduling-periodic"), STARTED, FINISHED]
    assert [event["worker"] for event in story] == ["Scheduler", *["Worker-1"] * 2]


def test_task_that_exceeds_its_timeout(scene: Scene) -> None:
    if not hasattr(scene.app, "overrun"):
        pytest.skip("huey has timeouts from 3.0 on")

    story = scene.story(scene.app.overrun().id, 2)

    assert steps(story) == [STARTED, step("timeout", "duration", *FAILED)]
    assert story[1]["exception"] == "huey.exceptions.TaskTimeout"


def test_rate_limited_task(scene: Scene) -> None:
    if not hasattr(scene.app, "limited"):
        pytest.skip("huey has rate limits from 3.0 on")

    story = scene.story(scene.app.limited().id, 2)

    assert steps(story) == [STARTED, step("rate-limited", "duration")]


@pytest.mark.parametrize("scene", ["process"], indirect=True)
def test_task_whose_worker_is_killed(scene: Scene) -> None:
    task = scene.app.sleep(60)
    started = scene.received.wait_for(task.id, 1)[0]
    os.kill(started["pid"], signal.SIGKILL)

    story = scene.story(task.id, 2)

    assert steps(story) == [STARTED, step("lost", "duration", "traceback")]
    assert [event["error"] for event in story] == [False, True]
    assert story[1]["traceback"] is None


@pytest.mark.parametrize("scene", ["process"], indirect=True)
def test_task_whose_worker_is_killed_and_its_child_is_not(scene: Scene) -> None:
    task = scene.app.leave_a_child()
    started = scene.received.wait_for(task.id, 1)[0]
    os.kill(started["pid"], signal.SIGKILL)

    story = scene.story(task.id, 2)

    assert steps(story) == [STARTED, step("lost", "duration", "traceback")]


def test_task_whose_worker_is_killed_where_huey_does_not_look(
    consumer: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    received: ReceivedEvents,
) -> None:
    app = application()
    consumer("process", "-n", "--disable-health-check")
    task = app.sleep(60)
    started = received.wait_for(task.id, 1)[0]

    os.kill(started["pid"], signal.SIGKILL)

    assert steps(received.wait_for(task.id, 2))[1:] == [
        step("lost", "duration", "traceback")
    ]


@pytest.mark.parametrize("scene", ["process"], indirect=True)
def test_task_whose_worker_is_killed_before_it_starts(
    scene: Scene, conn: redis.Redis
) -> None:
    task = scene.app.stuck()
    _, pid = conn.brpop(["stuck-in"], timeout=60)
    os.kill(int(pid), signal.SIGKILL)

    story = scene.story(task.id, 1)

    assert steps(story) == [step("lost", "traceback")]
