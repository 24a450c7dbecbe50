"""The ids of spans on the log lines of tasks, and on huey's own lines about them."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType

import pytest

from huey_otel.events import Event
from runtime import otlp_receiver as otlp
from tests.live.processes import Consumer
from tests.live.received_events import ReceivedEvents
from tests.support.programs import application_with, snippet
from tests.support.waiting import wait_until

Start = Callable[..., Consumer]
Ids = tuple[str, str]

LINE = re.compile(r"\S+ \S+ \w+ [\w.]+ trace_id=(\w{32}) span_id=(\w{16}): (.*)")
TASK = re.compile(r"\w{8}-\w{4}-\w{4}-\w{4}-\w{12}")
NONE = "0" * 32, "0" * 16

# Huey's lines about a task that are written when no attempt runs.
BEFORE = ("Executing ", " was revoked, not executing", "Enqueueing ")
AFTER = ("Unhandled error during execution of task",)


def lines_by_task(log: str) -> dict[str, list[tuple[Ids, str]]]:
    """The ids and the text of each line about a task, by its id, in order."""
    found = defaultdict(list)
    for trace_id, span_id, text in LINE.findall(log):
        for task in TASK.findall(text):
            found[task].append(((trace_id, span_id), text))
    return found


def is_outside(text: str) -> bool:
    return any(part in text for part in (*BEFORE, *AFTER))


def attempts(events: Iterable[Event]) -> list[Ids]:
    return [
        (event["trace_id"], event["span_id"])
        for event in events
        if event["status"] == "started"
    ]


def ids_inside(lines: list[tuple[Ids, str]]) -> list[set[Ids]]:
    """For each attempt the ids of its lines."""
    found: list[set[Ids]] = []
    for ids, text in lines:
        if text.startswith("Executing "):
            found.append(set())
        elif not is_outside(text):
            found[-1].add(ids)
    return found


def run_each(app: ModuleType, running: Consumer) -> None:
    """Run tasks that end in various ways, one after the other, and end *running*."""
    running.wait_until_it_consumes()
    revoked = app.say.s()
    app.huey.revoke(revoked)
    app.huey.enqueue(revoked)
    app.say()
    app.give_a_function()
    app.fail()
    app.fail_and_wait()
    wait_until(lambda: running.log.count("Unhandled exception in task") == 4)
    assert running.stop() == 0


@pytest.fixture
def start(consumer: Start, tmp_path: Path) -> Start:
    """Starts a consumer whose log is as the documents show it."""
    path = application_with(
        tmp_path,
        logs=snippet("docs/traces.md", "span ids"),
        settings=snippet("docs/traces.md", "logging"),
    )

    def start(kind: str, **environ: str) -> Consumer:
        # What huey_consumer logs itself, in its own format, goes nowhere.
        return consumer(
            *(kind, "-w", "1", "-d", "0.02", "-m", "0.1", "-l", "/dev/null"),
            application="logged",
            LIVE_LOG="1",
            PYTHONPATH=path,
            **environ,
            **({"LIVE_GREENLETS": "1"} if kind == "greenlet" else {}),
        )

    return start


@pytest.mark.parametrize("kind", ["thread", "process", "greenlet"])
def test_lines_of_an_attempt_have_the_ids_of_its_events(
    kind: str,
    start: Start,
    application: Callable[..., ModuleType],
    received: ReceivedEvents,
) -> None:
    app = application("logged")
    with otlp.receiver() as receiver:
        running = start(kind, **receiver.environ)
        run_each(app, running)
        spans = {(span.trace_id, span.span_id) for span in receiver.spans}

    events = defaultdict(list)
    for event in received.catch_up():
        events[event["id"]].append(event)
    lines = lines_by_task(running.log)
    assert len(lines) == 5
    for task, its_lines in lines.items():
        expected = attempts(events[task])
        assert ids_inside(its_lines) == [{ids} for ids in expected]
        assert spans.issuperset(expected)
        assert {ids for ids, text in its_lines if is_outside(text)} == {NONE}
    texts = [TASK.sub("ID", text) for one in lines.values() for _, text in one]
    for said in (
        "task ID says a word",
        "tests.live.apps.logged.say: ID executed in ",
        "Unhandled exception in task ID.",
        "Requeueing ID, 0 retries",
        "Added task ID to schedule",
        *(*BEFORE[:2], *AFTER),
    ):
        assert any(said in text for text in texts), said


@pytest.mark.once
@pytest.mark.parametrize("sampler", ["always_off", ""])
def test_lines_without_a_sampled_span(
    sampler: str,
    start: Start,
    application: Callable[..., ModuleType],
    received: ReceivedEvents,
) -> None:
    app = application("logged")
    with otlp.receiver() as receiver:
        environ = receiver.environ | {"OTEL_TRACES_SAMPLER": sampler}
        running = start("thread", **(environ if sampler else {}))
        run_each(app, running)
        assert receiver.spans == []

    assert {event.get("span_id") for event in received.catch_up()} == {None}
    inside = [
        ids
        for lines in lines_by_task(running.log).values()
        for ids_of_attempt in ids_inside(lines)
        for ids in ids_of_attempt
    ]
    if sampler:
        # A trace for each of the four tasks that ran, a span for each attempt.
        assert len(set(inside)) == len(inside) == 6
        assert len({trace_id for trace_id, _ in inside} - {NONE[0]}) == 4
    else:
        assert set(inside) == {NONE}
