"""Spans of forked workers that die, and those that the main process cannot make."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from huey.exceptions import RetryTask
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision

from huey_otel._otel import light
from huey_otel._relay.relay import Relay
from huey_otel._wire.client import CLIENT
from tests.support.spans import short
from tests.support.workers import Main
from tests.tasks.tracing.test_equality import Opinionated, provided, said

pytestmark = pytest.mark.once

WAYS = [
    pytest.param({BatchSpanProcessor}, id="light"),
    pytest.param(set(), id="by the SDK"),
]


@pytest.fixture(autouse=True)
def way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children are workers of this process, and have its client id."""
    monkeypatch.setattr(CLIENT, "_consumes", True)


def summary(span: ReadableSpan) -> dict[str, Any]:
    attributes: Any = span.attributes
    return {
        "name": short(span),
        "outcome": attributes.get("huey.task.outcome"),
        "error": attributes.get("error.type"),
        "status": (span.status.status_code.name, span.status.description),
        "exceptions": [
            (one.attributes or {}).get("exception.message") for one in span.events
        ],
    }


def of_attempts(lines: Any) -> list[tuple[str, Any]]:
    """Who exported the spans of attempts, and what they say."""
    found = [(by, eval(line)) for by, _, line in lines]
    for _, line in found:
        del line["resource"]
    return [(by, line) for by, line in found if not line["name"].startswith("enqueue")]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def made(path: Path, monkeypatch: Any, plain: Any, **options: Any) -> Main:
    monkeypatch.setattr(light, "PLAIN", plain)
    return Main(path / "spans", provided(**options), summary)


def test_a_worker_that_is_killed_in_a_task_loses_no_span(tmp_path: Path, monkeypatch):
    main = made(tmp_path, monkeypatch, {BatchSpanProcessor})
    ok, bad = main.huey.task(name="ok")(lambda: None), main.huey.task(name="bad")(die)
    for _ in range(5):
        ok()
    bad()

    main.kill()

    finished = {
        "name": "process ok",
        "outcome": "success",
        "error": None,
        "status": ("UNSET", None),
        "exceptions": [],
    }
    lost = {
        "name": "process bad",
        "outcome": "lost",
        "error": "lost",
        "status": ("ERROR", "the worker died"),
        "exceptions": [],
    }
    found = of_attempts(main.close())
    assert sorted(found, key=repr) == sorted(
        [("main", finished)] * 5 + [("main", lost)], key=repr
    )


def test_a_worker_that_is_killed_loses_those_that_the_sdk_has_not_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = made(tmp_path, monkeypatch, set())
    ok, bad = main.huey.task(name="ok")(lambda: None), main.huey.task(name="bad")(die)
    for _ in range(5):
        ok()
    bad()

    main.kill()

    assert [(by, line["name"]) for by, line in of_attempts(main.close())] == [
        ("main", "process bad")
    ]


@pytest.mark.parametrize("propagation", ["child", "link", "none"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="default"),
        pytest.param({"sampler": Opinionated(Decision.RECORD_AND_SAMPLE)}, id="given"),
    ],
)
def test_the_span_of_a_dead_worker_begins_as_the_worker_began_it(
    propagation: str,
    options: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    ended = {"huey.task.outcome", "error.type"}

    def began(span: ReadableSpan) -> dict[str, Any]:
        whole = said(span)
        start = {
            key: whole[key] for key in ("name", "kind", "context", "parent", "links")
        }
        kept = [one for one in whole["attributes"] if one[0] not in ended]
        return {**start, "attributes": kept, "began": span.start_time}

    monkeypatch.setattr(light, "PLAIN", {BatchSpanProcessor})
    main = Main(tmp_path / "spans", provided(**options), began, propagation=propagation)
    tell = tmp_path / "told"

    @main.huey.task(priority=7, retries=1, context=True)
    def send(task=None):
        if task.retries:
            raise ValueError
        span: Any = trace.get_current_span()
        tell.write_text(repr(began(span)))
        die()

    send()
    main.kill()

    lines = [(by, line) for by, _, line in main.close() if "process" in line]
    told = tell.read_text()
    assert [by for by, _ in lines] == ["main", "main"]
    assert any(line.startswith(told[:-1]) for _, line in lines)


def dies_at_its_next_enqueue(main: Main) -> None:
    def enqueue(*_: Any, **__: Any) -> None:
        die()

    main.huey.storage.enqueue = enqueue


def pipeline(main: Main) -> None:
    send = main.huey.task(name="send")(lambda *_: 1)
    main.huey.enqueue(send.s().then(send))


def failure(main: Main) -> None:
    send = main.huey.task(name="send", retries=1)(lambda: 1 / 0)
    send()


def retry(main: Main) -> None:
    @main.huey.task(name="send")
    def send():
        raise RetryTask

    send()


@pytest.mark.parametrize(
    ("scene", "expected"),
    [
        pytest.param(pipeline, ("success", None, "UNSET", []), id="success"),
        pytest.param(
            failure,
            ("error", "ZeroDivisionError", "ERROR", ["division by zero"]),
            id="failure",
        ),
        pytest.param(retry, ("retry_requested", None, "UNSET", []), id="retry"),
    ],
)
@pytest.mark.parametrize("plain", WAYS)
def test_a_worker_that_dies_after_the_run_leaves_the_span_of_the_run(
    scene: Any,
    expected: Any,
    plain: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    main = made(tmp_path, monkeypatch, plain)
    scene(main)

    main.kill(lambda: dies_at_its_next_enqueue(main))

    ((by, line),) = of_attempts(main.close())
    found = (line["outcome"], line["error"], line["status"][0], line["exceptions"])
    assert (by, line["name"], found) == ("main", "process send", expected)


def test_a_provider_that_chooses_ids_links_the_span_of_a_dead_worker_to_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def ids(span: ReadableSpan) -> dict[str, Any]:
        return {
            "name": short(span),
            "trace": span.context.trace_id,
            "links": [one.context.span_id for one in span.links],
        }

    monkeypatch.setattr(light, "PLAIN", set())
    main = Main(tmp_path / "spans", provided(), ids)
    tell = tmp_path / "told"

    @main.huey.task(name="send")
    def send():
        own = trace.get_current_span().get_span_context()
        tell.write_text(repr((own.trace_id, own.span_id)))
        die()

    send()
    main.kill()

    ((_, line),) = of_attempts(main.close())
    assert repr((line["trace"], *line["links"])) == tell.read_text()


def test_a_span_of_over_64_kilobytes_leaves_by_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = made(tmp_path, monkeypatch, {BatchSpanProcessor})

    @main.huey.task(name="say")
    def say(length):
        trace.get_current_span().set_attribute("long", "x" * length)

    say(70_000)
    say(10)
    main.work()

    assert sorted(by for by, _ in of_attempts(main.close())) == ["main", "worker"]


def test_without_room_in_the_pipe_spans_leave_by_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = made(tmp_path, monkeypatch, {BatchSpanProcessor})
    send = main.huey.task(name="send")(lambda: None)
    send()

    main.work(lambda: monkeypatch.setattr(Relay, "behind", True))

    assert [by for by, _ in of_attempts(main.close())] == ["worker"]


class Nosy(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        span.set_attribute("error.type", "nosy")


def test_a_processor_that_is_added_in_a_worker_acts_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = made(tmp_path, monkeypatch, {BatchSpanProcessor})
    send = main.huey.task(name="send")(lambda: None)
    send()

    main.work(lambda: main.provider.add_span_processor(Nosy()))

    ((by, line),) = of_attempts(main.close())
    assert (by, line["error"]) == ("worker", "nosy")


def test_a_plain_processor_that_is_added_in_a_worker_gets_its_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = made(tmp_path, monkeypatch, {BatchSpanProcessor})
    send = main.huey.task(name="send")(lambda: None)
    send()
    mine = InMemorySpanExporter()

    def check() -> None:
        main.provider.force_flush()
        assert len(mine.get_finished_spans()) == 1

    main.work(lambda: main.provider.add_span_processor(BatchSpanProcessor(mine)), check)

    assert [by for by, _ in of_attempts(main.close())] == ["worker"]


def test_a_provider_that_is_set_in_a_worker_has_the_spans_of_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(light, "PLAIN", {BatchSpanProcessor})
    main = Main(tmp_path / "spans", provided(), summary, tracer_provider=None)
    send = main.huey.task(name="send")(lambda: None)
    send()

    main.work(lambda: trace.set_tracer_provider(main.provider))

    assert [by for by, _ in of_attempts(main.close())] == ["worker"]


def test_what_a_child_of_a_worker_executes_is_made_by_the_main_process_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = made(tmp_path, monkeypatch, {BatchSpanProcessor})
    send = main.huey.task(name="send")(lambda: None)
    fork_again = main.huey.task(name="fork_again")(lambda: (send(), main.work())[1])
    fork_again()

    main.work()

    found = [(by, line["name"]) for by, line in of_attempts(main.close())]
    # The child and the worker each have the queue as it was at the fork.
    sent = [("main", "process send")] * 2
    assert sorted(found) == [("main", "process fork_again"), *sent]


def test_the_main_process_holds_nothing_of_attempts_that_are_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = made(tmp_path, monkeypatch, {BatchSpanProcessor})
    send = main.huey.task(name="send", retries=1)(lambda: 1 / 0)
    for _ in range(10):
        send()

    held = len(main.seen._shared.routes._inflight)
    main.work()
    main.deliver()

    assert len(main.seen._shared.routes._inflight) == held
    assert [by for by, _ in of_attempts(main.close())] == ["main"] * 20


def test_spans_of_a_worker_whose_main_process_is_gone_leave_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = made(tmp_path, monkeypatch, {BatchSpanProcessor})
    send = main.huey.task(name="send")(lambda: None)
    send()

    def orphaned() -> None:
        main.relay._writer.reader_gone = True

    main.work(orphaned)

    assert [by for by, _ in of_attempts(main.close())] == ["worker"]
