"""The span of an attempt ends after all that huey enqueues for it."""

from collections.abc import Callable

import pytest
from huey import CancelExecution, MemoryHuey, RetryTask, api, signals
from huey.api import Huey
from opentelemetry.sdk.trace import ReadableSpan

from huey_otel._safety.losses import Losses
from tests.support.recorded import Drain, Recorded
from tests.support.spans import Spans

Scene = Callable[[Huey], None]


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture(params=[False, True], ids=["queued", "immediate"])
def huey(request: pytest.FixtureRequest) -> Huey:
    return MemoryHuey("my-app", immediate=request.param)


@pytest.fixture
def seen(huey: Huey, spans: Spans) -> Recorded:
    return Recorded(huey, tracer_provider=spans.provider)


def _pipeline(huey: Huey) -> None:
    add = huey.task()(lambda *_: 1)
    huey.enqueue(add.s().then(add).then(add))


def _error_handler(huey: Huey) -> None:
    def fail() -> None:
        raise ValueError

    handle = huey.task(name="handle")(lambda _error: None)
    huey.enqueue(huey.task()(fail).s().error(handle.s()))


def _error_handler_and_retries(huey: Huey) -> None:
    def fail() -> None:
        raise ValueError

    handle = huey.task(name="handle")(lambda _error: None)
    huey.enqueue(huey.task(retries=2)(fail).s().error(handle.s()))


def _chord(huey: Huey) -> None:
    _needs("chord")
    add = huey.task()(lambda *_: 1)
    total = huey.task(name="total")(lambda _numbers: 2)
    huey.enqueue(api.chord([add.s(), add.s().then(add)], total.s()))


def _chord_of_failures(huey: Huey) -> None:
    _needs("chord")

    def fail() -> None:
        raise ValueError

    total = huey.task(name="total")(lambda _numbers: 2)
    huey.enqueue(api.chord([huey.task()(fail).s()], total.s()))


def _group(huey: Huey) -> None:
    _needs("group")
    add = huey.task()(lambda *_: 1)
    huey.enqueue(api.group([add.s(), add.s()]))


def _receiver(huey: Huey) -> None:
    more = huey.task(name="more")(lambda: None)

    @huey.signal(signals.SIGNAL_COMPLETE)
    def on_complete(_signal: str, task: api.Task) -> None:
        if task.name.endswith("first"):
            more()

    huey.task(name="first")(lambda: None)()


def _receiver_of_retries(huey: Huey) -> None:
    more = huey.task(name="more")(lambda: None)

    @huey.signal(signals.SIGNAL_RETRYING)
    def on_retrying(_signal: str, _task: api.Task) -> None:
        more()

    tries: list[int] = []

    def poll() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RetryTask

    huey.task(name="poll")(poll)()


def _receiver_of_the_requeue(huey: Huey) -> None:
    more = huey.task(name="more")(lambda: None)

    @huey.signal(signals.SIGNAL_SCHEDULED, signals.SIGNAL_ENQUEUED)
    def on_requeue(_signal: str, task: api.Task) -> None:
        if task.name.endswith("again") and task.retries < 2:
            more()

    def fail() -> None:
        raise ValueError

    huey.task(name="again", retries=2)(fail)()
    huey.task(name="later_again", retries=2, retry_delay=1)(fail)()


def _hook_of_a_failure(huey: Huey) -> None:
    more = huey.task(name="more")(lambda: None)

    @huey.post_execute()
    def after(_task: api.Task, _value: object, error: Exception | None) -> None:
        if error is not None:
            more()

    def cancel() -> None:
        raise CancelExecution(retry=False)

    huey.task()(cancel)()


def _needs(what: str) -> None:
    if not hasattr(api, what):
        pytest.skip(f"huey 2 has no {what}s")


SCENES = [
    *(_pipeline, _error_handler, _error_handler_and_retries, _chord),
    *(_chord_of_failures, _group, _receiver, _receiver_of_retries),
    *(_receiver_of_the_requeue, _hook_of_a_failure),
]


def late(spans: Spans) -> list[tuple[str, str]]:
    """Each enqueue and command that goes beyond the end of what it is inside of."""
    known = {span.context.span_id: span for span in spans.all}
    found = []
    for span in spans.all:
        above = known.get(span.parent.span_id) if span.parent else None
        if above is None or span.name.startswith("process"):
            continue
        if above.end_time < span.end_time:
            found.append((above.name, span.name))
    return found


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_no_enqueue_ends_after_the_span_around_it(huey, seen, spans, scene: Scene):
    scene(huey)
    Drain(huey)()

    inside = [span for span in spans.all if span.parent is not None]
    assert len([span for span in inside if span.name.startswith("enq")]) >= 1
    assert late(spans) == []
    assert seen.each_message_has_one_end()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_events_and_metrics_tell_how_long_the_run_took(huey, seen, spans, scene: Scene):
    scene(huey)
    Drain(huey)()

    ended = {
        event["span_id"]: event["duration"]
        for event in seen.published
        if event.get("duration") is not None
    }
    attempts = [span for span in spans.all if span.name.startswith("process")]
    lasted = {f"{one.context.span_id:016x}": _seconds(one) for one in attempts}
    assert len(ended) >= 2
    assert all(lasted[one] >= ended[one] - 1e-6 for one in ended)


def _seconds(span: ReadableSpan) -> float:
    return (span.end_time - span.start_time) / 1e9


def traced(huey: Huey, spans: Spans, *names: str) -> None:
    """Give each call of the storage a span, as an instrumented client would."""

    def within_a_span(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def inner(*args: object, **kwargs: object) -> object:
            with spans.tracer.start_as_current_span(name):
                return call(*args, **kwargs)

        return inner

    for name in names:
        setattr(huey.storage, name, within_a_span(name, getattr(huey.storage, name)))


def test_no_command_goes_beyond_the_end_of_an_attempt_that_failed(spans):
    huey = MemoryHuey("my-app")
    seen = Recorded(huey, tracer_provider=spans.provider)
    traced(huey, spans, "enqueue", "add_to_schedule", "put_data")

    def fail() -> None:
        raise ValueError

    huey.task(name="at_once", retries=1)(fail)()
    huey.task(name="later", retries=1, retry_delay=1)(fail)()
    Drain(huey)()

    inside = {one.context.span_id: one.name for one in spans.all}
    of_attempts = {
        one.name
        for one in spans.all
        if one.parent and inside[one.parent.span_id].startswith("process")
    }
    assert of_attempts == {"add_to_schedule", "enqueue", "put_data"}
    assert late(spans) == []
    assert seen.each_message_has_one_end()


def test_a_success_that_nothing_follows_ends_with_its_run(spans):
    huey = MemoryHuey("my-app")
    seen = Recorded(huey, tracer_provider=spans.provider)

    huey.task(name="add")(lambda: None)()
    Drain(huey)()

    ends = {
        event["span_id"]: int((event["timestamp"]) * 1e9)
        for event in seen.published
        if event.get("duration") is not None
    }
    assert len(ends) == 1
    assert {
        f"{span.context.span_id:016x}": span.end_time
        for span in spans.all
        if span.name.startswith("process")
    } == ends


def test_a_next_task_that_cannot_be_enqueued_leaves_no_span_open(spans, losses: Losses):
    huey = MemoryHuey("my-app")
    Recorded(huey, tracer_provider=spans.provider)
    add = huey.task(name="add")(lambda *_: 1)
    huey.enqueue(add.s().then(add))

    def refuse(*_args: object, **_options: object) -> None:
        raise OSError("full")

    huey.storage.enqueue = refuse
    escaped = Drain(huey)()

    assert list(map(type, escaped)) == [OSError]
    assert late(spans) == []
    assert len([one for one in spans.all if one.name.startswith("process")]) == 1
    assert losses.counts() == {}
