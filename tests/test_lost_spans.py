"""Spans of attempts whose worker died."""

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind, StatusCode, format_span_id

from huey_otel._lost_spans import LostSpans
from huey_otel._provider import Provided
from huey_otel._records import Record, Source, TaskFacts
from tests.support_spans import Spans, linked

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
    "huey.task.name": "app.add",
    "huey.task.attempt": 2,
    "huey.task.retries_left": 1,
    "huey.task.eta": 5.0,
    "huey.worker.name": "Worker-1",
    "huey.task.outcome": "lost",
    "error.type": "lost",
}


def lose(spans: Spans, facts=FACTS, *, ours=True, status="lost", naming="task"):
    processors = spans.provider._active_span_processor._span_processors
    kept: tuple[SpanProcessor, ...] = processors if ours else ()
    provided = Provided(spans.tracer, spans.provider, "to a test", kept)
    extra = {"duration": DIED - BEGAN}
    record = Record(1, status, DIED, 7, 1, "Worker-1", tuple(facts), 1, extra)
    LostSpans(lambda: provided, naming)(record, SOURCE)
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
    assert span.resource is spans.provider.resource


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
