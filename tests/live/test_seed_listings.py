"""The two ways to listen that huey 1.x documented, line by line, in the shop."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.live.processes import HUEY_CONSUMER, Program
from tests.support.waiting import wait_until

ITERATING = """\
from runtime.shop import huey

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
from runtime.shop import huey

def process_event(event):
    print(event, flush=True)

import huey_otel
pubsub = huey.storage.listener()
for message in pubsub.listen():
    event = message['data']  # Actual event data is stored in 'data' key.
    # Do something with `event` object.
    process_event(event)
"""

PACK_AND_CHARGE = """\
from runtime.shop import tasks
tasks.pack_order(7, withdrawn=True)
print(tasks.charge_card(8, 9.5).id)
"""

Run = Callable[..., Program]


@pytest.fixture
def run(keep: Callable[[Program], Program], redis_url: str, tmp_path: Path) -> Run:
    """Starts a Python program that knows where the shop's queue is."""
    numbers = itertools.count(1)

    def run(*arguments: str) -> Program:
        log = tmp_path / f"program-{next(numbers)}.log"
        program = Program(*arguments, log=log, environ={"SHOP_REDIS_URL": redis_url})
        keep(program)
        return program

    return run


@pytest.fixture
def listing(
    request: pytest.FixtureRequest, run: Run, redis_url: str, tmp_path: Path
) -> Program:
    script = tmp_path / "listing.py"
    script.write_text(request.param)
    program = run("-W", "error", str(script))
    with redis.Redis.from_url(redis_url) as client:
        wait_until(lambda: client.pubsub_numsub("shop") == [(b"shop", 1)])
    return program


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("listing", [ITERATING], indirect=True, ids=["storage"])
def test_iterating_over_the_storage(listing: Program, kind: str, run: Run) -> None:
    run(*HUEY_CONSUMER, "runtime.shop.huey", "-n", "-k", kind)
    assert run("-c", PACK_AND_CHARGE).wait() == 0

    wait_until(lambda: "\n" in listing.log)

    assert listing.log.splitlines() == [
        "finished charge_card {'order': 8, 'amount': 9.5}"
    ]


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("listing", [SUBSCRIBING], indirect=True, ids=["listener"])
def test_subscribing_with_the_listener(listing: Program, kind: str, run: Run) -> None:
    run(*HUEY_CONSUMER, "runtime.shop.huey", "-n", "-k", kind)
    program = run("-c", PACK_AND_CHARGE)
    assert program.wait() == 0

    wait_until(lambda: listing.log.count("\n") == 5)

    subscribed, *packed, started, finished = listing.log.splitlines()
    assert subscribed == "1"
    assert [line.split(",")[0] for line in packed] == [
        'b\'{"status":"started"',
        'b\'{"status":"canceled"',
    ]
    assert started.startswith('b\'{"status":"started"')
    assert finished.startswith('b\'{"status":"finished"')
    assert f'"id":"{program.log.strip()}"' in finished
