"""Task ends that huey does not signal: the events of each of them."""

import contextlib
from collections.abc import Callable, Iterator
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
    Step,
    step,
    steps,
)
from tests.support.redis_server import RedisServer, serving

NOT_STORED = step("error-storing-result", "duration", *FAILED)
NOT_ENQUEUED = step("error-enqueueing", *FAILED)
NOT_SCHEDULED = step("error-scheduling", *FAILED)
NOT_DEQUEUED = step("error-dequeueing", "count", *FAILED)
INTERNAL = step("error-internal", *FAILED)
ENDED_BY_INTERNAL = step("error-internal", "duration", *FAILED)

QUEUE = "huey.redis.live"
SCHEDULE = "huey.schedule.live"


def allow_all(admin: redis.Redis) -> None:
    """Make the consumer's user one that may do everything."""
    admin.execute_command(
        *("ACL", "SETUSER", "worker", "reset", "on", ">secret"),
        *("~*", "&*", "+@all"),
    )


class Stage:
    """A consumer with one worker, on a Redis that refuses chosen commands."""

    def __init__(
        self, admin: redis.Redis, app: ModuleType, received: ReceivedEvents
    ) -> None:
        self.admin = admin
        self.app = app
        self.received = received

    @contextlib.contextmanager
    def refused(self, *commands: str) -> Iterator[None]:
        """While this lasts, Redis refuses *commands* of the consumer."""
        denials = [f"-{command}" for command in commands]
        self.admin.execute_command("ACL", "SETUSER", "worker", *denials)
        try:
            yield
        finally:
            allow_all(self.admin)

    def ring(self) -> None:
        """Return when the events of all tasks enqueued before have come."""
        self.received.wait_for(self.app.add(0, 0).id, 2)

    def story(self, task_id: str | None) -> list[Step]:
        return steps(self.received.of(task_id))


redis_server = pytest.fixture(scope="module")(serving)


@pytest.fixture(scope="module")
def admin(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        allow_all(client)
        yield client


@pytest.fixture(scope="module", params=["thread", "process"])
def running(
    request: pytest.FixtureRequest,
    redis_server: RedisServer,
    admin: redis.Redis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Consumer]:
    started = Consumer(
        *("endings", request.param),
        *("-n", "-c", "0.2", "-m", "0.2"),
        log=tmp_path_factory.mktemp("consumer") / "log",
        environ={
            "LIVE_QUEUE_URL": f"redis://worker:secret@127.0.0.1:{redis_server.port}"
        },
    )
    yield started
    started.clean_up()
    admin.flushall()


@pytest.fixture
def stage(
    running: Consumer,
    admin: redis.Redis,
    application: Callable[..., ModuleType],
    received: ReceivedEvents,
) -> Stage:
    stage = Stage(admin, application("endings", LIVE_STRANGER="1"), received)
    stage.ring()
    received.events.clear()
    return stage


RESULT = ("hset",)
REVOCATION = ("hmget", "hget", "hexists")
RESTORE = ("hdel",)
PUSH = ("lpush",)
SCHEDULING = ("zadd",)

ENDINGS = {
    "result not stored": (
        lambda app: app.add.s(1, 2),
        RESULT,
        [STARTED, NOT_STORED],
    ),
    "result cannot be pickled": (
        lambda app: app.give_a_function.s(),
        (),
        [STARTED, NOT_STORED],
    ),
    "revocation not deleted after success": (
        lambda app: app.add.s(1, 2),
        RESTORE,
        [STARTED, ENDED_BY_INTERNAL],
    ),
    "revocation not deleted after an error": (
        lambda app: app.fail.s("no"),
        RESTORE,
        [STARTED, ERROR_TASK, INTERNAL],
    ),
    "error not stored, a retry left": (
        lambda app: app.fail.s("no"),
        RESULT,
        [STARTED, ERROR_TASK, NOT_STORED],
    ),
    "error cannot be pickled for its handler, a retry left": (
        lambda app: app.fail_unpicklably.s().error(app.handle),
        (),
        [STARTED, ERROR_TASK, NOT_ENQUEUED],
    ),
    "retry not enqueued": (
        lambda app: app.fail.s("no"),
        PUSH,
        [STARTED, ERROR_TASK, RETRYING, NOT_ENQUEUED],
    ),
    "retry not scheduled": (
        lambda app: app.fail_and_wait.s("no"),
        SCHEDULING,
        [STARTED, ERROR_TASK, RETRYING, SCHEDULED, NOT_SCHEDULED],
    ),
    "next of a pipeline not enqueued": (
        lambda app: app.add.s(1, 2).then(app.add, 3),
        PUSH,
        [STARTED, FINISHED, NOT_ENQUEUED],
    ),
    "own enqueue of the task refused": (
        lambda app: app.enqueue_more.s(),
        PUSH,
        [STARTED, ERROR_TASK],
    ),
    "sys.exit, a retry left": (
        lambda app: app.leave.s(),
        (),
        [STARTED, ERROR_TASK],
    ),
    "another BaseException, a retry left": (
        lambda app: app.stop_everything.s(),
        (),
        [STARTED, ERROR_TASK],
    ),
    "revocation not read": (
        lambda app: app.add.s(1, 2),
        REVOCATION,
        [INTERNAL],
    ),
    "eta not scheduled": (
        lambda app: app.add.s(1, 2, delay=60),
        SCHEDULING,
        [SCHEDULED, NOT_SCHEDULED],
    ),
}


# Before the other undecodable messages: of a streak only the first is told at once.
def test_queue_that_cannot_be_read(stage: Stage) -> None:
    with stage.refused("brpop"):
        stage.received.wait_for(None, 1)
    stage.ring()

    # One for the first error, and one for the others once they are over.
    assert set(map(str, stage.story(None))) == {str(NOT_DEQUEUED)}
    assert len(stage.story(None)) <= 2


@pytest.mark.parametrize(
    ("make", "refused", "expected"), ENDINGS.values(), ids=ENDINGS.keys()
)
def test_each_unusual_ending_has_its_events(
    make: Callable[..., object],
    refused: tuple[str, ...],
    expected: list[Step],
    stage: Stage,
) -> None:
    task = make(stage.app)

    with stage.refused(*refused) if refused else contextlib.nullcontext():
        stage.app.huey.enqueue(task)
        stage.received.wait_for(task.id, len(expected))
    stage.ring()

    assert stage.story(task.id) == expected
    assert stage.story(None) == []


def test_ripe_task_that_the_scheduler_cannot_enqueue(stage: Stage) -> None:
    with stage.refused(*PUSH):
        # A worker that sees it only when it is due puts it on no schedule.
        task = stage.app.add.schedule((1, 2), delay=5)
        stage.received.wait_for(task.id, 2)
    stage.ring()

    assert stage.story(task.id) == [SCHEDULED, NOT_ENQUEUED]
    assert stage.received.of(task.id)[-1]["worker"] == "Scheduler"
    assert stage.story(None) == []


def test_message_that_cannot_be_decoded(stage: Stage) -> None:
    stage.admin.lpush(QUEUE, b"garbage")
    stage.ring()

    assert stage.story(None) == [NOT_DEQUEUED]
    assert stage.received.events[0]["count"] == 1
    assert stage.received.events[0]["worker"] == "Worker-1"


def test_message_of_a_task_that_the_consumer_does_not_know(stage: Stage) -> None:
    task = stage.app.stranger()
    stage.ring()

    assert stage.story(task.id) == []
    assert stage.story(None) == [NOT_DEQUEUED]
    assert "stranger" in stage.received.events[0]["traceback"]


def test_scheduled_message_that_cannot_be_decoded(stage: Stage) -> None:
    stage.admin.zadd(SCHEDULE, {b"garbage": 0})
    stage.received.wait_for(None, 1)
    stage.ring()

    assert stage.story(None) == [NOT_DEQUEUED]
    assert stage.received.events[0]["worker"] == "Scheduler"


def test_schedule_that_cannot_be_read(stage: Stage) -> None:
    with stage.refused("eval", "evalsha"):
        stage.received.wait_for(None, 1)
    stage.ring()

    assert stage.story(None)[0] == INTERNAL
    assert stage.received.events[0]["worker"] == "Scheduler"
