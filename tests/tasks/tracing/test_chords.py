"""Groups and chords: their trace, and the links of a callback to its members."""

import contextlib

import pytest
from huey import MemoryHuey, api
from huey.serializer import SignedSerializer
from opentelemetry.semconv._incubating.attributes import messaging_attributes as m
from opentelemetry.trace import (
    SpanKind,
    StatusCode,
)

from huey_otel._wire.client import CLIENT
from tests.support.recorded import EARLIER, Drain, Recorded
from tests.support.spans import linked, plain, traces
from tests.support.waiting import wait_until

CHORDS = pytest.mark.skipif(not hasattr(api, "chord"), reason="huey 2 has no chords")


@CHORDS
def test_a_chords_callback_is_in_its_trace_and_linked_to_its_members(
    huey, seen, spans, drain
):
    @huey.task()
    def number(value):
        return value

    @huey.task()
    def double(value):
        return 2 * value

    @huey.task(retries=1)
    def total(values):
        totals.append(values)
        if len(totals) == 1:
            raise ValueError

    totals: list[list[int]] = []
    members = [number.s(1), number.s(2).then(double), number.s(3)]
    huey.enqueue(api.chord(members, total.s()))
    drain()

    assert totals == [[1, 4, 3]] * 2
    assert len(traces(spans.all)) == 1
    first, second = spans.named("process total")
    done = [spans.named("process number")[0], spans.one("process double")]
    done.append(spans.named("process number")[2])
    assert linked(first) == [plain(span.context) for span in done]
    assert {link.attributes["huey.link"] for link in first.links} == {"member"}
    assert [span.attributes["huey.chord.size"] for span in (first, second)] == [3, 3]
    assert linked(second) == [plain(first.context)]


@CHORDS
@pytest.mark.parametrize("compression", [False, True], ids=["plain", "gzip"])
def test_a_large_chords_callback_has_a_bounded_number_of_links(spans, compression):
    serializer = SignedSerializer("secret", compression=compression)
    huey = MemoryHuey("my-app", serializer=serializer)
    Recorded(huey, tracer_provider=spans.provider)

    @huey.task()
    def number(value):
        return value

    @huey.task()
    def total(values):
        totals.append(sum(values))

    totals: list[int] = []
    huey.enqueue(api.chord([number.s(value) for value in range(100)], total.s()))
    Drain(huey)()

    done = [plain(span.context) for span in spans.named("process number")]
    callback = spans.one("process total")
    assert totals == [sum(range(100))]
    assert linked(callback) == [*done[:16], *done[-16:]]
    assert callback.attributes["huey.chord.size"] == 100


@CHORDS
def test_members_that_did_not_run_are_linked_to_as_well(huey, seen, spans, drain):
    @huey.task()
    def number(value):
        return value

    @huey.task()
    def total(values):
        pass

    members = [number.s(1), number.s(2), number.s(3, expires=EARLIER)]
    huey.revoke(members[0])
    huey.enqueue(api.chord(members, total.s()))
    drain()

    shorts = spans.named("process number")
    assert [span.attributes["huey.task.outcome"] for span in shorts] == [
        *("revoked", "success", "expired"),
    ]
    assert linked(spans.one("process total")) == [plain(s.context) for s in shorts]


@CHORDS
@pytest.mark.parametrize(
    ("propagation", "joined"),
    [("auto", True), ("link", True), ("none", False), (lambda _: "none", False)],
    ids=["auto", "link", "none", "a function's none"],
)
def test_the_callback_of_members_that_began_traces(
    huey, instrumented, spans, drain, propagation, joined
):
    instrumented(propagation=propagation, link_after=30)

    @huey.task()
    def number():
        return 1

    @huey.task()
    def total(values):
        pass

    huey.enqueue(api.chord([number.s(), number.s(delay=60)], total.s()))
    drain()
    drain.ripe()

    near, far = spans.named("process number")
    origin, callback = spans.one("enqueue chord"), spans.one("enqueue total")
    assert far.context.trace_id != origin.context.trace_id
    assert (callback.context.trace_id == origin.context.trace_id) is joined
    members = [link for link in spans.one("process total").links if link.attributes]
    assert [plain(link.context) for link in members] == [
        plain(near.context),
        plain(far.context),
    ]


@CHORDS
def test_the_callback_of_a_late_member_that_was_retried_is_in_the_chords_trace(
    huey, instrumented, spans, drain
):
    instrumented(link_after=0.01)

    @huey.task(retries=2)
    def number():
        numbers.append(1)
        if len(numbers) < 3:
            raise ValueError
        return 1

    @huey.task()
    def total(values):
        pass

    numbers: list[int] = []
    huey.enqueue(api.chord([number.s(delay=0.05)], total.s()))
    drain(at=EARLIER)
    wait_until(lambda: [huey.enqueue(task) for task in huey.read_schedule()])
    drain()

    first, second, third = spans.named("process number")
    assert second.parent.span_id == third.parent.span_id == first.context.span_id
    enqueued = spans.one("enqueue number").context
    assert plain(spans.one("enqueue total").parent) == plain(enqueued)
    assert linked(spans.one("process total")) == [plain(third.context)]


@CHORDS
def test_the_callback_of_a_late_pipeline_is_in_the_chords_trace(
    huey, instrumented, spans, drain
):
    instrumented(link_after=30)

    @huey.task()
    def number(value):
        return value

    @huey.task()
    def total(values):
        pass

    member = number.s(1, delay=60).then(number).then(number)
    huey.enqueue(api.chord([member], total.s()))
    drain()
    drain.ripe()

    late = {span.context.trace_id for span in spans.named("process number")}
    assert late.isdisjoint({spans.one("enqueue chord").context.trace_id})
    assert len(late) == 1
    enqueued = spans.named("enqueue number")[0].context
    assert plain(spans.one("enqueue total").parent) == plain(enqueued)


@CHORDS
def test_a_member_that_was_done_without_us_has_no_link(huey, instrumented, spans):
    @huey.task()
    def number(value):
        return value

    @huey.task()
    def total(values):
        totals.append(values)

    totals: list[list[int]] = []
    seen = instrumented()
    huey.enqueue(api.chord([number.s(1), number.s(2)], total.s()))
    seen.instrumentation.uninstrument()
    huey.execute(huey.dequeue())
    instrumented()
    Drain(huey)()

    assert totals == [[1, 2]]
    assert linked(spans.one("process total")) == [
        plain(spans.one("process number").context)
    ]


@pytest.fixture
def chord() -> type:
    found = getattr(api, "chord", None)
    if found is None:
        pytest.skip("huey 2 has no chords")
    return found


@pytest.mark.parametrize("inside", [True, False], ids=["request", "nothing"])
def test_a_chord_is_one_trace(huey, seen, spans, drain, chord, inside):
    @huey.task()
    def member(number):
        return number

    @huey.task()
    def callback(numbers):
        return sum(numbers)

    around = spans.tracer.start_as_current_span("request")
    with around if inside else contextlib.nullcontext():
        huey.enqueue(chord([member.s(1), member.s(2)], callback.s()))
    drain()

    callback_ran = {"enqueue callback": {"process callback": {}}}
    members = {
        "enqueue member": {"process member": {}},
        "enqueue member'": {"process member": callback_ran},
    }
    assert spans.trees == [{"request" if inside else "enqueue chord": members}]
    if not inside:
        batch = spans.one("enqueue chord")
        assert batch.kind is SpanKind.CLIENT
        assert dict(batch.attributes) == {
            m.MESSAGING_SYSTEM: "huey",
            m.MESSAGING_OPERATION_NAME: "enqueue",
            m.MESSAGING_OPERATION_TYPE: "send",
            m.MESSAGING_DESTINATION_NAME: "my-app",
            m.MESSAGING_CLIENT_ID: CLIENT.id,
            m.MESSAGING_BATCH_MESSAGE_COUNT: 2,
        }


def test_a_chord_that_cannot_be_enqueued_leaves_no_span_current(
    huey, seen, spans, chord
):
    @huey.task()
    def member():
        pass

    with pytest.raises(ValueError, match="group"):
        huey.enqueue(chord([api.group([member.s()])], member.s()))

    assert spans.one("enqueue chord").status.status_code is StatusCode.ERROR


def test_a_group_is_one_trace(huey, seen, spans, drain, chord):
    @huey.task()
    def member(number):
        return number

    huey.enqueue(api.group([member.s(1), member.s(2)]))
    drain()

    assert spans.trees == [
        {
            "enqueue group": {
                "enqueue member": {"process member": {}},
                "enqueue member'": {"process member": {}},
            }
        }
    ]
