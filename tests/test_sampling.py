"""Both ends of a link are sampled together, as both ends of a parent are."""

import pytest
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    TraceIdRatioBased,
)
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    set_span_in_context,
)

from huey_otel.sampling import LinksBased, linked
from tests.support.recorded import Drain, Recorded
from tests.support.spans import Spans

TASKS = 5_000
ONE_PERCENT = ParentBased(TraceIdRatioBased(0.01))


def context(number: int, *, sampled: bool) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return SpanContext(number, number, is_remote=True, trace_flags=flags)


@pytest.mark.without_coverage
@pytest.mark.parametrize("propagation", ["child", "link"])
def test_of_one_percent_both_ends_are_sampled(huey, propagation):
    spans = Spans(LinksBased(ONE_PERCENT))
    Recorded(huey, tracer_provider=spans.provider, propagation=propagation)

    @huey.task()
    def add():
        pass

    drain = Drain(huey)
    for _ in range(TASKS // 500):
        for _ in range(500):
            add()
        drain()

    enqueued = {span.context.span_id for span in spans.named("enqueue add")}
    processed = spans.named("process add")
    if propagation == "link":
        origins = [span.links[0].context.span_id for span in processed]
    else:
        origins = [span.parent.span_id for span in processed]
    assert 0 < len(enqueued) < TASKS // 20
    assert (len(origins), set(origins)) == (len(enqueued), enqueued)


@pytest.mark.parametrize(
    ("root", "links", "sampled"),
    [
        (ALWAYS_OFF, [], False),
        (ALWAYS_ON, [], True),
        (ALWAYS_OFF, [False, True], True),
        (ALWAYS_ON, [False, False], False),
    ],
    ids=["no link, off", "no link, on", "a sampled one", "none sampled"],
)
def test_a_root_is_sampled_as_its_links_are(root, links, sampled):
    spans = Spans(LinksBased(root))

    made = [Link(context(number, sampled=flag)) for number, flag in enumerate(links, 1)]
    spans.tracer.start_span("root", links=made).end()

    assert spans.names == (["root"] if sampled else [])


@pytest.mark.parametrize("sampled", [True, False])
def test_a_child_is_sampled_as_its_parent_whatever_its_links(sampled):
    spans = Spans(LinksBased(ParentBased(ALWAYS_ON)))

    parent = set_span_in_context(NonRecordingSpan(context(1, sampled=sampled)))
    link = Link(context(2, sampled=not sampled))
    spans.tracer.start_span("child", context=parent, links=[link]).end()

    assert spans.names == (["child"] if sampled else [])


def test_an_invalid_link_does_not_count():
    spans = Spans(LinksBased(ALWAYS_ON))

    spans.tracer.start_span("root", links=[Link(context(0, sampled=False))]).end()

    assert spans.names == ["root"]


def test_only_parent_based_samplers_use_links():
    assert linked(ALWAYS_ON) is ALWAYS_ON
    assert linked(ONE_PERCENT).get_description() == (
        f"LinksBased{{root:{ONE_PERCENT.get_description()}"
        ",linkSampled:AlwaysOnSampler,linkNotSampled:AlwaysOffSampler}"
    )
