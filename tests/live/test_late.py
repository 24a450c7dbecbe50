"""instrument() after the consumer was made: it works, or it raises."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from huey import MemoryHuey

from tests.live.processes import Program
from tests.live.received_events import ReceivedEvents
from tests.support.waiting import wait_until

MADE = "made, then instrumented"
RUNNING = "running, then instrumented"
BY_ITS_CLASS = "instrumented, then made by its class"

TELLS = hasattr(MemoryHuey(), "_timeout_handler")
"""Whether a consumer that is made sets something on its huey, as with huey 3."""

Late = Callable[[str, str], Program]


@pytest.fixture
def late(keep: Callable[[Program], Program], redis_url: str, tmp_path: Path) -> Late:
    def start(order: str, kind: str) -> Program:
        program = Program(
            *("-m", "tests.live.apps.instrumented_late", order, kind),
            log=tmp_path / "log",
            environ={"LIVE_QUEUE_URL": redis_url, "HUEY_OTEL_METRICS_PORT": "0"},
        )
        keep(program)
        return program

    return start


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        *((MADE, kind) for kind in ("thread", "process", "greenlet")),
        *((RUNNING, kind) for kind in ("thread", "greenlet")),
        *((BY_ITS_CLASS, kind) for kind in ("thread", "greenlet")),
        pytest.param(
            *(BY_ITS_CLASS, "process"),
            marks=pytest.mark.skipif(not TELLS, reason="seen too late with huey 2"),
        ),
    ],
)
def test_a_consumer_made_before_instrument_is_observed(
    order: str, kind: str, late: Late, received: ReceivedEvents
) -> None:
    program = late(order, kind)

    assert program.wait() == 0
    wait_until(lambda: received.count("finished") == 2)

    assert json.loads(program.log.splitlines()[-1]) == {"workers": 1, "succeeded": 2}
    told = [event for event in received.catch_up() if event["task"] == "add"]
    assert [event["status"] for event in told] == ["started", "finished"] * 2
    # The first task was popped before its worker was instrumented.
    assert {(event["worker_type"], event["worker"]) for event in told[2:]} == {
        (kind, "Worker-1")
    }


def test_worker_processes_that_are_forked_already_are_refused(late: Late) -> None:
    program = late(RUNNING, "process")

    assert program.wait() == 0
    assert json.loads(program.log.splitlines()[-1]) == {
        "refused": "the consumer of queue 'live' has forked its workers already, and"
        " they cannot be observed any more: call instrument(huey) where the queue is"
        " defined, and make the consumer by huey.create_consumer()",
        "touched": False,
    }


@pytest.mark.skipif(TELLS, reason="it is known with huey 3")
def test_worker_processes_of_an_unknown_consumer_are_logged(late: Late) -> None:
    program = late(BY_ITS_CLASS, "process")

    assert program.wait() == 0
    assert "the consumer of queue 'live' has forked its workers already" in program.log
