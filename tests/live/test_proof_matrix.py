"""Telemetry agrees with what ran: all worker types, ways to end, and collectors."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import redis
from huey.consumer_options import ConsumerConfig

from huey_otel import _names as n
from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Receiver
from tests.live.processes import Consumer, Program
from tests.live.proof import Evidence, missing_tail, of_kind
from tests.live.proof_scene import DEATHS, SECONDS, TASKS, WAYS, Scene
from tests.live.received_events import ReceivedEvents

KINDS = ("thread", "process", "greenlet")
COLLECTORS: dict[str, Callable[[], AbstractContextManager[Receiver]]] = {
    "http": lambda: otlp.receiver(HTTP),
    "grpc": lambda: otlp.receiver(GRPC),
    "refused": lambda: otlp.refusing(HTTP),
    "black-hole": lambda: otlp.black_hole(GRPC),
}
RECEIVING = ("http", "grpc")

# What an attempt's end is called in its event, and on the page.
ATTEMPTS = {
    "finished": n.OUTCOME_SUCCESS,
    "error-task": n.OUTCOME_ERROR,
    "interrupted": n.OUTCOME_INTERRUPTED,
    "lost": n.OUTCOME_LOST,
}
TASKS_ENDED = ATTEMPTS | {"error-task": n.OUTCOME_FAILURE}

Start = Callable[..., Consumer]


class Told:
    """What the events say; pages and spans must agree."""

    def __init__(self, received: ReceivedEvents) -> None:
        self._events = received.catch_up()

    def of(self, *statuses: str) -> Counter[str]:
        events = [e for e in self._events if e["status"] in statuses]
        return Counter(str(event["id"]) for event in events)

    def names(self, status: str, ids: set[str]) -> Counter[str]:
        events = [e for e in self._events if e["status"] == status]
        return Counter(str(e["name"]) for e in events if e["id"] in ids)

    def outcomes(self, names: dict[str, str], ids: set[str]) -> Counter[str]:
        events = [e for e in self._events if e["status"] in names]
        return Counter(names[str(e["status"])] for e in events if e["id"] in ids)

    @property
    def started(self) -> set[str]:
        return set(self.of("started"))

    @property
    def ended(self) -> set[str]:
        return set(self.of(*ATTEMPTS))

    @property
    def cut_off(self) -> set[str]:
        return set(self.of("interrupted", "lost"))


def check_events(scene: Scene, told: Told) -> None:
    """Check that each called task has one end, and each run its events."""
    evidence = scene.evidence
    began, ended = evidence.ids("began"), evidence.ids("ended")
    done = set(told.of("finished", "error-task"))
    assert set(began.values()) == set(told.of("started").values()) == {1}
    if scene.way == "consumer killed":
        assert set(told.of(*ATTEMPTS).values()) == {1}
        tails = (told.started, "began"), (told.ended, "ended")
        for arrived, word in tails:
            assert missing_tail(evidence.lines(word), arrived) is not None
        # Killed between the enqueue and its line in the ledger.
        beyond = told.ended - set(evidence.ids("called"))
        assert len(beyond) <= scene.cut_off_at_most
        return
    called = evidence.ids("called")
    assert set(called.values()) == set(told.of(*ATTEMPTS).values()) == {1}
    # A cut-off may fall between an enqueue and its line in the ledger, or while
    # the answer of Redis with a message is on its way.
    assert len(told.ended - called.keys()) <= len(told.cut_off)
    untold = called.keys() - told.ended
    assert untold.isdisjoint(told.started)
    assert len(untold) <= scene.cut_off_at_most
    assert began.keys() <= told.started <= began.keys() | told.cut_off
    assert done <= ended.keys() <= done | told.cut_off
    assert len(told.cut_off) <= scene.cut_off_at_most


def check_counters(scene: Scene, told: Told) -> None:
    """Check that the pages at the end agree with the events."""
    counted, runs = scene.evidence.counted, scene.reporting
    started, ended = told.started, told.ended
    if scene.way == "consumer killed":
        began = {line.task_id for line in scene.evidence.lines("began", *runs)}
        started, ended = started & began, ended & began
    assert counted(n.TASK_ATTEMPTS_TOTAL, "task", *runs) == told.names(
        "started", started
    )
    assert counted(n.TASK_ATTEMPTS_FINISHED_TOTAL, "outcome", *runs) == told.outcomes(
        ATTEMPTS, ended & started
    )
    assert counted(n.TASKS_FINISHED_TOTAL, "outcome", *runs) == told.outcomes(
        TASKS_ENDED, ended
    )
    restarts = counted(n.WORKER_RESTARTS_TOTAL, "reason", *runs)
    deaths = DEATHS if scene.way == "worker dies" else 0
    assert restarts[n.REASON_DIED] == deaths
    assert bool(restarts[n.REASON_MAX_TASKS]) == (scene.way == "recycle")
    called = len(scene.evidence.lines("called", *runs))
    enqueued = counted(n.TASKS_ENQUEUED_TOTAL, "origin", *runs)
    # A cut-off may fall between an enqueue and its line, or a worker enqueues after
    # its process has made its last count.
    assert abs(enqueued["call"] - called) <= len(told.cut_off)


def check_spans(scene: Scene, told: Told) -> None:
    """Check that each run has one span, a child of its enqueue, and always current."""
    evidence, spans = scene.evidence, scene.collector.spans
    processed, enqueued = of_kind(spans, "CONSUMER"), of_kind(spans, "PRODUCER")
    if scene.way == "consumer killed" or scene.killed:
        # The spans of lost attempts come from the main process.
        own = {
            task_id
            for task_id, span in processed.items()
            if span.attributes.get(n.TASK_OUTCOME) != n.OUTCOME_LOST
        }
        assert missing_tail(evidence.lines("ended"), own) is not None
    else:
        assert processed.keys() == told.started
        called = evidence.ids("called").keys() | told.ended
        assert enqueued.keys() <= called
        # A cut-off may fall between an enqueue and the end of its span.
        assert len(called - enqueued.keys()) <= len(told.cut_off)
    for line in [*evidence.lines("began"), *evidence.lines("ended")]:
        if line.task_id in processed:
            assert processed[line.task_id].span_id == line.span_id
    for line in evidence.lines("called"):
        if line.task_id in enqueued:
            assert (enqueued[line.task_id].parent_id or "0" * 16) == line.span_id
    for task_id, span in processed.items():
        if task_id in enqueued:
            assert span.parent_id == enqueued[task_id].span_id


def check_losses(scene: Scene, told: Told, *, arrives: bool) -> None:
    """Check that exactly the spans that did not arrive are counted as lost."""
    losses = scene.evidence.losses(*scene.reporting)
    if arrives and scene.killed:
        # The main process counts what a killed worker had not exported.
        processed = of_kind(scene.collector.spans, "CONSUMER")
        assert losses.keys() <= {n.LOSS_SPANS}
        assert len(told.started - processed.keys()) <= losses[n.LOSS_SPANS]
        return
    if arrives:
        # A thread that is cut off may end two spans after the last flush, its
        # attempt's and an enqueue's.
        assert losses.keys() <= ({n.LOSS_SPANS} if told.cut_off else set())
        assert losses.total() <= 2 * len(told.cut_off)
        return
    assert losses.keys() == {n.LOSS_SPANS}
    if scene.way != "consumer killed" and not scene.killed:
        called = len(scene.evidence.lines("called", *scene.runs))
        spans = len(told.started) + called
        assert spans <= losses[n.LOSS_SPANS] <= spans + len(told.cut_off)


def row(scene: Scene, told: Told) -> dict[str, int]:
    """One line of the matrix: what ran, and what telemetry says of it."""
    evidence, runs = scene.evidence, scene.reporting
    attempts = evidence.counted(n.TASK_ATTEMPTS_TOTAL, "task", *runs)
    return {
        "called": len(evidence.lines("called")),
        "began": len(evidence.lines("began")),
        "ended": len(evidence.lines("ended")),
        "started": len(told.started),
        "told-ends": len(told.ended),
        "cut-off": len(told.cut_off),
        "counted": attempts.total(),
        "spans": len(of_kind(scene.collector.spans, "CONSUMER")),
        "lost-spans": evidence.losses(*runs)[n.LOSS_SPANS],
    }


@pytest.fixture
def produce(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path
) -> Callable[[Scene], None]:
    """Enqueues all from a process of its own."""

    def produce(scene: Scene) -> None:
        dying = scene.way == "worker dies" and scene.kind != "process"
        program = Program(
            *("-m", "tests.live.apps.proof_web", str(TASKS), str(SECONDS)),
            str(DEATHS if dying else 0),
            log=tmp_path / "producer.log",
            environ={"LIVE_QUEUE_URL": redis_url} | scene.environ,
        )
        keep(program)
        assert program.wait() == 0

    return produce


# Kills have tests of their own in every run: test_kills, test_export.
@pytest.mark.proof_but(
    *("greenlet-SIGTERM-http", "process-SIGHUP-http", "process-SIGHUP-black-hole")
)
@pytest.mark.parametrize("collector", COLLECTORS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_telemetry_agrees_with_what_ran(
    kind: str,
    way: str,
    collector: str,
    consumer: Start,
    produce: Callable[[Scene], None],
    received: ReceivedEvents,
    redis_url: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    if way == "recycle" and not hasattr(ConsumerConfig, "max_tasks"):
        pytest.skip("huey recycles from 3.0 on")
    evidence = Evidence(tmp_path / "evidence")
    with COLLECTORS[collector]() as receiver, redis.Redis.from_url(redis_url) as client:
        arrives = collector in RECEIVING
        scene = Scene(kind, way, receiver, evidence, client, consumer, arrives=arrives)
        produce(scene)
        scene.end(scene.consumer())
        scene.work_off_all()
    told = Told(received)
    record_property("proof", row(scene, told))

    check_events(scene, told)
    check_counters(scene, told)
    if arrives:
        check_spans(scene, told)
    check_losses(scene, told, arrives=arrives)
