"""The two ways to listen that huey 1.x documented, line by line as it did."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import redis

from tests.live.processes import Consumer, Program
from tests.support import wait_until

ITERATING = """\
from tests.live.apps.life import huey

def process_result(event, result):
    print(event['status'], event['task'], result, flush=True)

import huey_otel
from huey.consumer import EVENT_FINISHED

for event in huey.storage:
    # Do something with the result of the task.
    if event['status'] == EVENT_FINISHED:
        result = huey.result(event['id'])
        process_result(event, result)
"""

SUBSCRIBING = """\
from tests.live.apps.life import huey

def process_event(event):
    print(event, flush=True)

import huey_otel
pubsub = huey.storage.listener()
for message in pubsub.listen():
    event = message['data']  # Actual event data is stored in 'data' key.
    # Do something with `event` object.
    process_event(event)
"""


@pytest.fixture
def listing(
    request: pytest.FixtureRequest,
    keep: Callable[[Program], Program],
    redis_url: str,
    tmp_path: Path,
) -> Program:
    script = tmp_path / "listing.py"
    script.write_text(request.param)
    program = Program(
        *("-W", "error", str(script)),
        log=tmp_path / "listing.log",
        environ={"LIVE_QUEUE_URL": redis_url},
    )
    keep(program)
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: client.pubsub_numsub("live") == [(b"live", 1)], seconds=15)
    return program


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("listing", [ITERATING], indirect=True, ids=["storage"])
def test_iterating_over_the_storage(
    listing: Program,
    kind: str,
    consumer: Callable[..., Consumer],
    application: Callable[..., ModuleType],
) -> None:
    app = application()
    consumer(kind, "-n")
    app.fail("no")
    app.add(1, 2)

    wait_until(lambda: "\n" in listing.log, seconds=15)

    assert listing.log.splitlines() == ["finished add 3"]


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("listing", [SUBSCRIBING], indirect=True, ids=["listener"])
def test_subscribing_with_the_listener(
    listing: Program,
    kind: str,
    consumer: Callable[..., Consumer],
    application: Callable[..., ModuleType],
) -> None:
    app = application()
    consumer(kind, "-n")
    task = app.add(1, 2)

    wait_until(lambda: listing.log.count("\n") == 3, seconds=15)

    subscribed, started, finished = listing.log.splitlines()
    assert subscribed == "1"
    assert started.startswith('b\'{"status":"started"')
    assert finished.startswith('b\'{"status":"finished"')
    assert f'"id":"{task.id}"' in finished
