"""Context as other propagators write it, and the state that vendors add to it."""

from collections.abc import Iterator

import pytest
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from tests.support.recorded import Recorded
from tests.support.spans import Spans, linked, plain

PROPAGATORS = {
    "b3": B3SingleFormat(),
    "b3 multi": B3MultiFormat(),
    "X-Ray": AwsXRayPropagator(),
}
REQUEST = 0x65F2B1C00123456789ABCDEF01234567


@pytest.fixture(params=PROPAGATORS.values(), ids=PROPAGATORS)
def propagator(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> TextMapPropagator:
    """The global propagator of this process."""
    chosen: TextMapPropagator = request.param
    monkeypatch.setattr(propagate, "propagator", chosen)
    return chosen


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def within() -> Iterator[object]:
    """Makes a remote parent current until the end of the test."""
    tokens = []

    def within(*, sampled: bool = True, state: TraceState | None = None) -> None:
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        ids = SpanContext(REQUEST, 7, True, flags, state)  # noqa: FBT003 - the API's
        parent = trace.set_span_in_context(NonRecordingSpan(ids), Context())
        tokens.append(contexts.attach(parent))

    yield within
    for token in reversed(tokens):
        contexts.detach(token)


def test_a_task_and_its_retry_are_in_the_trace(huey, spans, drain, propagator, within):
    Recorded(huey, tracer_provider=spans.provider)

    @huey.task(retries=1)
    def fail():
        raise ValueError

    within()
    fail()
    with_nothing_current(drain)

    first, second = spans.named("process fail")
    (enqueue,) = spans.named("enqueue fail")
    assert enqueue.context.trace_id == REQUEST
    assert first.parent.span_id == second.parent.span_id == enqueue.context.span_id
    assert linked(second) == [plain(first.context)]


def with_nothing_current(work) -> None:
    """Do *work* as a worker would, which knows of no request."""
    token = contexts.attach(Context())
    work()
    contexts.detach(token)


def test_an_unsampled_parent_stays_unsampled(huey, spans, drain, propagator, within):
    Recorded(huey, tracer_provider=spans.provider)

    @huey.task(retries=1)
    def fail():
        inside.append(trace.get_current_span().get_span_context())
        raise ValueError

    inside: list[SpanContext] = []
    within(sampled=False)
    fail()
    with_nothing_current(drain)

    assert spans.all == []
    assert [(ids.trace_id, ids.trace_flags.sampled) for ids in inside] == [
        (REQUEST, False)
    ] * 2


@pytest.mark.parametrize("propagation", ["child", "link"])
def test_the_state_of_a_trace_is_untouched(huey, spans, drain, within, propagation):
    Recorded(huey, tracer_provider=spans.provider, propagation=propagation)
    state = TraceState([("vendor", "a;b:c=d"), ("other@tenant", "x" * 200)])

    @huey.task()
    def show():
        inside.append(trace.get_current_span().get_span_context().trace_state)

    inside: list[TraceState] = []
    within(state=state)
    show()
    with_nothing_current(drain)

    (process,) = spans.named("process show")
    if propagation == "link":
        # A trace of its own has no state yet; that of the other is in the link.
        assert inside == [TraceState()]
        assert process.links[0].context.trace_state == state
    else:
        assert inside == [state]
