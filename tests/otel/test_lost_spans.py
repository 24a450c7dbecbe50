"""Spans of attempts whose worker died."""

import marshal
import socket
from collections.abc import Callable
from typing import Any

import pytest
from huey.api import Huey
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
    format_span_id,
)

from huey_otel._otel.lost_spans import LostSpans
from huey_otel._relay.inflight import InFlight
from huey_otel._wire.client import CLIENT
from huey_otel._wire.record import Record, Source, TaskFacts
from tests.support.recorded import EARLIER, Drain, Recorded
from tests.support.spans import Spans, linked, plain, resolved_to

SOURCE = Source(queue="my-app", host="here")
TRACE, SPAN, PARENT = "0" * 31 + "1", "0" * 15 + "2", "0" * 15 + "3"
FACTS = TaskFacts("id", "add", "app.add", None, 5.0, 2, TRACE, SPAN, PARENT)
BEGAN, DIED = 1_000.0, 1_002.5
ATTRIBUTES = {
    "messaging.system": "huey",
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.destination.name": "my-app",
    "messaging.message.id": "id",
    "messaging.client.id": CLIENT.id,
    "huey.task.name": "app.add",
    "huey.task.attempt": 2,
    "huey.task.retries_left": 1,
    "huey.task.eta": 5.0,
    "huey.worker.name": "Worker-1",
    "huey.task.outcome": "lost",
    "error.type": "lost",
}


def lose(spans: Spans, facts=FACTS, *, ours=True, status="lost", naming="task"):
    resolved = resolved_to(spans, ours=ours)
    extra = {"duration": DIED - BEGAN}
    record = Record(1, status, DIED, 7, 1, "Worker-1", tuple(facts), 1, extra)
    LostSpans(lambda: resolved, naming)(record, SOURCE)
    return spans.all


def test_ours_has_the_ids_that_the_worker_gave_it():
    spans = Spans()

    (span,) = lose(spans)

    assert span.name == "process app.add"
    assert span.kind is SpanKind.CONSUMER
    assert dict(span.attributes) == ATTRIBUTES
    assert (span.context.trace_id, span.context.span_id) == (1, 2)
    assert (span.parent.trace_id, span.parent.span_id) == (1, 3)
    assert (span.start_time, span.end_time) == (int(BEGAN * 1e9), int(DIED * 1e9))
    assert span.status.status_code is StatusCode.ERROR
    assert span.instrumentation_scope.name == "huey-otel"
    assert dict(span.resource.attributes) == {
        "service.name": "web",
        "host.name": socket.gethostname(),
        # That of the worker.
        "process.pid": 7,
    }


def test_ours_keeps_the_limits_that_the_environment_sets(monkeypatch):
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")

    (span,) = lose(Spans())

    assert dict(span.attributes) == {
        name: value[:3] if isinstance(value, str) else value
        for name, value in ATTRIBUTES.items()
    }


def test_another_providers_is_in_the_same_trace_and_linked():
    (span,) = lose(Spans(), ours=False)

    assert dict(span.attributes) == ATTRIBUTES
    assert (span.context.trace_id, span.parent.span_id) == (1, 3)
    assert [format_span_id(link.span_id) for link in linked(span)] == [SPAN]
    assert (span.start_time, span.end_time) == (int(BEGAN * 1e9), int(DIED * 1e9))
    assert span.status.status_code is StatusCode.ERROR


def test_a_root_is_a_root_again_with_ours():
    (span,) = lose(Spans(), FACTS._replace(parent_id=None))

    assert span.parent is None


def test_a_root_of_another_provider_is_the_parent_of_what_tells_of_it():
    (span,) = lose(Spans(), FACTS._replace(parent_id=None), ours=False)

    assert (span.context.trace_id, span.parent.span_id) == (1, 2)


def test_spans_may_be_named_by_the_queue():
    (span,) = lose(Spans(), naming="queue")

    assert span.name == "process my-app"


def test_what_was_not_sampled_or_not_lost_has_no_span():
    assert lose(Spans(), FACTS._replace(trace_id=None, span_id=None)) == []
    assert lose(Spans(), status="finished") == []


@pytest.fixture
def request_span():
    """A span of a request is current, with a state of a vendor's."""
    ids = SpanContext(
        *(0xA, 0xB),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "v")]),
    )
    token = contexts.attach(trace.set_span_in_context(NonRecordingSpan(ids)))
    yield
    contexts.detach(token)


def once(huey: Huey, **options: Any) -> Callable[[], Any]:
    """A task that fails, and is to be done again."""

    @huey.task(retries=1, **options)
    def send():
        raise ValueError

    return send


def killed(seen: Recorded, provider: Spans, *, ours: bool) -> ReadableSpan:
    """The span that the main process exports of the last attempt after a kill."""
    started = [one for one in seen.records if one.status == "started"][-1]
    crossed = Record(*marshal.loads(marshal.dumps(tuple(started), 2)))
    gone = Record(1, "gone", DIED, started.pid, 0, None, None, None, None)
    table = InFlight()
    assert list(table.apply(crossed)) == []
    (lost,) = table.apply(gone)
    provider.clear()
    resolved = resolved_to(provider, ours=ours)
    LostSpans(lambda: resolved, "task")(lost, SOURCE)
    (span,) = provider.all
    return span


def said(span: ReadableSpan) -> dict[str, Any]:
    """What a span has from its start on."""
    over = ("huey.task.outcome", "error.type")
    attributes = {
        name: value for name, value in span.attributes.items() if name not in over
    }
    return {
        "name": span.name,
        "kind": span.kind,
        "ids": (span.context.trace_id, span.context.span_id),
        "state": span.context.trace_state,
        "parent": span.parent and span.parent.span_id,
        "links": [(one.context, dict(one.attributes or {})) for one in span.links],
        "attributes": attributes,
    }


@pytest.mark.usefixtures("request_span")
@pytest.mark.parametrize("propagation", ["child", "link", "none"])
@pytest.mark.parametrize(
    "options", [{}, {"priority": 7}], ids=["no priority", "priority"]
)
def test_it_says_all_that_the_workers_own_said_at_its_start(
    huey: Huey, drain: Drain, propagation: str, options: dict[str, Any]
):
    spans = Spans()
    seen = Recorded(huey, tracer_provider=spans.provider, propagation=propagation)
    send = once(huey, **options)
    huey.enqueue(send.s(eta=EARLIER))
    drain()
    own = spans.named("process send")[-1]
    expected = said(own)

    again = killed(seen, spans, ours=True)

    assert said(again) == expected
    assert len(again.links) == {"child": 1, "link": 2, "none": 1}[propagation]
    assert again.attributes["huey.task.wait"] > 0
    assert again.attributes.get("huey.task.priority") == options.get("priority")
    state = {"child": "vendor=v"}.get(propagation, "")
    assert again.context.trace_state.to_header() == state


@pytest.mark.usefixtures("request_span")
def test_another_providers_is_linked_to_it_and_to_all_it_was_linked_to(huey, drain):
    spans = Spans()
    seen = Recorded(huey, tracer_provider=spans.provider, propagation="link")
    once(huey)()
    drain()
    own = spans.named("process send")[-1]
    links, ids = linked(own), plain(own.context)

    again = killed(seen, spans, ours=False)

    assert [one.span_id for one in linked(again)] == [
        ids.span_id,
        *(one.span_id for one in links),
    ]


def test_only_a_start_that_has_more_to_say_is_larger(huey, drain):
    spans = Spans()
    seen = Recorded(huey, tracer_provider=spans.provider, propagation="link")
    once(huey)()
    drain()

    sizes = [
        (record.status, record.start is None, len(marshal.dumps(tuple(record), 2)))
        for record in seen.records
        if record.status in ("started", "ended")
    ]
    assert [small for status, small, _ in sizes if status == "ended"] == [True] * 2
    assert [small for status, small, _ in sizes if status == "started"] == [False] * 2
    assert max(size for _, _, size in sizes) <= 400


def test_what_is_not_sampled_has_no_more_to_say(huey, drain):
    spans = Spans(ALWAYS_OFF)
    seen = Recorded(huey, tracer_provider=spans.provider, propagation="link")
    once(huey, priority=7)()
    drain()

    assert {record.start for record in seen.records} == {None}
