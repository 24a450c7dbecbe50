"""Interrupted attempts: the end of one is counted even where its record was lost."""

import os
import threading

import pytest
from huey import MemoryHuey
from prometheus_client import CollectorRegistry

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._prometheus.collector import Collector
from huey_otel._relay.inflight import InFlight
from huey_otel._relay.relay import Relay, Route, Routes
from huey_otel._safety.losses import LOSSES
from huey_otel._tasks.context import HERE
from huey_otel._wire.record import Record
from huey_otel._wire.span import SpanLeft, SpanStart
from tests.support.forks import fork
from tests.support.metrics import FORKING, TASK, page, record
from tests.support.recorded import Recorded

NOW = 1_010.0
COUNTED = (
    n.TASK_ATTEMPTS_TOTAL,
    n.TASK_ATTEMPTS_FINISHED_TOTAL,
    n.TASKS_FINISHED_TOTAL,
    n.TASKS_IN_PROGRESS,
)


def ended(key: int, **where) -> Record:
    extra = {"outcome": "success", "final": "success", "duration": 0.5}
    return record("ended", key=key, **where, **extra)


def closed(*records: Record) -> list[tuple[int, str, dict]]:
    table = InFlight()
    found = [one for given in records for one in table.apply(given)]
    return [(one.key, one.status, one.extra) for one in found]


INTERRUPTED = (1, "ended", {"outcome": "error", "final": "failure"})


def test_the_next_start_of_its_worker_closes_an_attempt_whose_end_did_not_arrive(
    losses,
):
    found = closed(
        record("dequeued", key=1),
        record("started", key=1, wait=0.5),
        record("dequeued", key=2),
        record("started", key=2, wait=0.5, timestamp=NOW, after=1),
        ended(2),
        record("gone", key=0, worker=None),
    )

    assert found == [INTERRUPTED]
    assert losses.counts() == {"interrupted": 1}


def test_a_worker_that_ends_closes_an_attempt_whose_end_did_not_arrive(losses):
    found = closed(
        record("started", key=1),
        record("worker-ended", key=0, reason="max_tasks", after=1),
        record("gone", key=0, worker=None),
    )

    assert found == [INTERRUPTED]
    assert losses.counts() == {"interrupted": 1}


def test_an_end_that_was_told_before_is_not_called_an_error(losses):
    found = closed(
        record("started", key=1),
        record("timeout", key=1, duration=2.0, exception="TaskTimeout"),
        record("started", key=2, after=1),
    )

    told = {"outcome": "timeout", "final": "timeout", "duration": 2.0}
    assert found == [(1, "ended", {**told, "exception": "TaskTimeout"})]
    assert losses.counts() == {"interrupted": 1}


@pytest.mark.parametrize("crosses", [True, False])
def test_the_span_of_an_interrupted_attempt_is_made_if_its_worker_makes_none(
    crosses, losses
):
    ids = (1, 2, False, 1, "")
    start = tuple(SpanStart(*(crosses, ids, None, 1), (), *((), None, None)))
    table = InFlight()
    table.apply(record("started", key=1)._replace(start=start))

    (found,) = table.apply(record("started", key=2, timestamp=NOW, after=1))

    left = tuple(SpanLeft(start)) if crosses else None
    assert (found.start, found.timestamp) == (left, NOW)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"after": 0}, id="the first of another thread"),
        pytest.param({"after": 1, "pid": 8}, id="another process"),
        pytest.param({}, id="inside, in immediate mode"),
    ],
)
def test_what_starts_elsewhere_or_inside_closes_nothing(other, losses):
    found = closed(record("started", key=1), record("started", key=2, **other))

    assert found == []
    assert losses.counts() == {}


def test_the_scheduler_holds_several_messages(losses):
    popped = [record("dequeued", key=key, worker="Scheduler") for key in (1, 2, 3)]

    assert closed(*popped) == []


def counted() -> tuple[Relay, CollectorRegistry]:
    metrics, registry, routes = Collector(), CollectorRegistry(), Routes()
    registry.register(metrics)
    routes.add(1, Route(FORKING, (metrics,)))
    relay = Relay(routes)
    relay.open_pipe()
    return relay, registry


@pytest.mark.parametrize("dies", [False, True], ids=["runs on", "dies"])
def test_an_end_that_a_forked_worker_did_not_send_is_counted_once(dies, losses):
    relay, registry = counted()

    def child() -> None:
        pid = os.getpid()
        relay.send(record("dequeued", key=1, pid=pid))
        relay.send(record("started", key=1, pid=pid))
        # The record of its end was lost.
        relay.send(record("dequeued", key=2, pid=pid))
        relay.send(record("started", key=2, pid=pid, after=1))
        relay.send(ended(2, pid=pid), must=True)
        assert relay.flush(5.0)

    worker = fork(child)
    code = worker.join()
    relay.flush(5.0)
    if dies:
        relay.send(record("gone", key=0, pid=worker.pid, worker=None, name=None))
    relay.flush(5.0)

    task = f'queue="shop",task="{TASK}"'
    finished = ("error", "success"), ("failure", "success")
    attempts, tasks = (
        {f'{name}{{outcome="{outcome}",{task}}}': 1 for outcome in outcomes}
        for name, outcomes in zip(COUNTED[1:3], finished, strict=True)
    )
    assert code == 0
    assert page(registry, *COUNTED) == {
        f"huey_task_attempts_total{{{task}}}": 2,
        f"huey_tasks_in_progress{{{task}}}": 0,
        **attempts,
        **tasks,
    }
    assert losses.counts() == {"interrupted": 1}


class CutOffError(BaseException):
    """What a signal handler of the application raises."""


def test_an_end_that_a_thread_worker_did_not_send_is_counted_once(
    huey, seen, drain, losses, monkeypatch
):
    relay = seen.instrumentation._shared.relay
    send, cut = relay.send, []

    def send_or_raise(one: Record, *, must: bool = False) -> bool:
        if mapping.closes(one.extra) and not cut:
            cut.append(one.key)
            raise CutOffError
        return send(one, must=must)

    @huey.task()
    def add(): ...

    def work() -> None:
        HERE.local.doing.worker = "Worker-1"
        drain()

    monkeypatch.setattr(relay, "send", send_or_raise)
    add()
    add()
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()

    ends = [(r.key, *r.extra.values()) for r in seen.records if r.status == "ended"]
    assert ends == [(cut[0], "error", "failure")]
    assert seen.each_message_has_one_end()
    assert LOSSES.counts() == {"interrupted": 1}


def test_a_start_that_was_summed_up_leaves_it_to_the_next_one(
    huey, seen, drain, losses, monkeypatch
):
    relay = seen.instrumentation._shared.relay
    send, started = relay.send, []

    def send_some(one: Record, *, must: bool = False) -> bool:
        started.extend([one.key] if one.status == "started" else [])
        if len(started) == 1 and mapping.closes(one.extra):
            raise CutOffError
        if len(started) == 2 and not must:
            relay._overflow.add(one)
            return False
        return send(one, must=must)

    @huey.task()
    def add(): ...

    monkeypatch.setattr(relay, "send", send_some)
    for _ in range(3):
        add()
    drain()

    ends = [(r.key, *r.extra.values()) for r in seen.records if r.status == "ended"]
    assert (started[0], "error", "failure") in ends
    assert losses.counts()["interrupted"] == 1


def test_an_attempt_inside_another_one_does_not_close_it(losses):
    huey = MemoryHuey("my-app", immediate=True)
    seen = Recorded(huey)
    HERE.local.doing.worker = "Worker-1"

    @huey.task()
    def inner(): ...

    @huey.task()
    def outer():
        inner()

    outer()
    outer()

    assert seen.ends == [("success", "success")] * 4
    assert all("after" not in event for event in seen.published)
    assert losses.counts() == {}
