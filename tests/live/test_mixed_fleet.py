"""Instrumented and bare processes, of one huey or of several, share a queue."""

import importlib.metadata
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from huey_otel._wire.carrier import Carrier, encode
from huey_otel.events import Event
from tests.live.processes import Consumer, Program, losses
from tests.live.received_events import FINISHED, STARTED, ReceivedEvents, steps
from tests.support.programs import other_huey

pytestmark = pytest.mark.once

INSTALLED = importlib.metadata.version("huey")
OLDER = [version for version in ("2.6.0", "2.5.3") if version != INSTALLED]

# A huey reads messages of older ones, not of newer; all 2.x are alike.
PAIRS = [
    (INSTALLED, INSTALLED),
    *((version, version) for version in OLDER),
    *((version, INSTALLED) for version in OLDER),
]


@pytest.mark.parametrize(
    ("instrumented", "bare"),
    [
        pytest.param("produce", "consume", id="instrumented to bare"),
        pytest.param("consume", "produce", id="bare to instrumented"),
    ],
)
@pytest.mark.parametrize(
    ("producer", "consumer"), PAIRS, ids=[f"{older} to {new}" for older, new in PAIRS]
)
def test_instrumented_and_bare_processes_share_a_queue(
    instrumented: str,
    bare: str,
    producer: str,
    consumer: str,
    keep: Callable[[Program], Program],
    redis_url: str,
    received: ReceivedEvents,
    tmp_path: Path,
) -> None:
    programs = {}
    for role, version in (("consume", consumer), ("produce", producer)):
        programs[role] = Program(
            *("-m", "tests.live.apps.fleet", role),
            log=tmp_path / role,
            environ={
                "LIVE_QUEUE_URL": redis_url,
                "LIVE_INSTRUMENTED": "yes" if role == instrumented else "no",
                "HUEY_OTEL_CHANNEL": "live",
            },
            pythonpath="" if version == INSTALLED else str(other_huey(version)),
        )
        keep(programs[role])

    assert programs["produce"].wait() == 0, programs["produce"].log
    ids = json.loads(programs["produce"].log.splitlines()[-1])

    assert ids.keys() == {"default", "gzip", "zlib", "signed", "signedgzip"}
    if bare == "consume":
        assert received.events == []
        return
    for added, failed in ids.values():
        story = received.wait_for(added, 2)
        assert steps(story) == [STARTED, FINISHED]
        assert story[0]["wait"] is None
        retried = received.wait_for(failed, 5)
        assert [(event["status"], event["attempt"]) for event in retried] == [
            *(("started", 1), ("error-task", 1), ("retrying", 1)),
            *(("started", 2), ("finished", 2)),
        ]


class WorkedOff(NamedTuple):
    """The events of each task by its name, the losses, and the log."""

    stories: dict[str, list[Event]]
    lost: dict[str, int]
    log: str


def footer(length: int, version: int) -> bytes:
    return length.to_bytes(3, "little") + bytes([version]) + b"hotl"


def trailer(
    body: bytes = b"", *, enqueued: float = 2.0, attempt: int = 1, version: int = 2
) -> bytes:
    numbers = struct.pack("<ddII25x", enqueued, math.nan, attempt, 0)
    return body + numbers + footer(len(body), version)


GOOD = encode(Carrier(enqueued=1.0, headers={"a": "b"}))
HOSTILE = {
    "garbage": trailer(b"\xff\x00garbage"),
    "newer version": trailer(version=3),
    "five megabytes": trailer(b'["' + b"x" * 5_000_000 + b'"]'),
    "deep": trailer(b"[" * 8_000),
    "longer than the message": b"{}" + footer(2**24 - 1, 2),
    "other fields": trailer(b'{"enqueued":1}'),
    "not a number": trailer(enqueued=math.nan),
    "endless number": trailer(b"[{},null," + b"9" * 5_000 + b",[]]"),
    "code in headers": trailer(b'{"a":{"b":1}}'),
    "no attempt": trailer(attempt=0),
    "cut": GOOD[1:],
}


@pytest.fixture(params=["thread", "process"])
def work_off(
    request: pytest.FixtureRequest,
    application: Callable[..., ModuleType],
    consumer: Callable[..., Consumer],
    received: ReceivedEvents,
    tmp_path: Path,
) -> Callable[[dict[str, bytes]], WorkedOff]:
    """Runs one task for each kind of bytes behind its message."""

    def work_off(ends: dict[str, bytes]) -> WorkedOff:
        dropped = tmp_path / "dropped"
        app = application()
        tasks = {}
        for name, end in ends.items():
            tasks[name] = app.add.s(1, 2)
            app.huey.storage.enqueue(app.huey.serialize_task(tasks[name]) + end)
        running = consumer(request.param, "-n", LIVE_DROPPED=str(dropped))
        stories = {name: received.wait_for(task.id, 2) for name, task in tasks.items()}
        running.stop()
        return WorkedOff(stories, losses(dropped), running.log)

    return work_off


def test_task_with_a_hostile_trailer_runs_without_context(
    work_off: Callable[[dict[str, bytes]], WorkedOff],
) -> None:
    seen = work_off(HOSTILE)

    for name, story in seen.stories.items():
        assert steps(story) == [STARTED, FINISHED], name
        assert (story[0]["wait"], story[0]["attempt"]) == (None, 1), name
    assert seen.lost == {"carrier": len(HOSTILE)}
    assert seen.log.count("(counted as carrier)") == 1


def test_bytes_behind_a_message_that_are_not_ours_are_left_alone(
    work_off: Callable[[dict[str, bytes]], WorkedOff],
) -> None:
    seen = work_off({"foreign": b"another program's"})

    assert steps(seen.stories["foreign"]) == [STARTED, FINISHED]
    assert seen.lost == {}
