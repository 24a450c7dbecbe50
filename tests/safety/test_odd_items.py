"""One odd text, time or number costs at most itself: all else of its task is told."""

import datetime
import json
import logging
import os
import time
from collections.abc import Iterator

import pytest
from huey import MemoryHuey
from huey.api import Huey, Task
from opentelemetry import baggage, propagate
from opentelemetry import context as contexts
from opentelemetry.propagators.textmap import TextMapPropagator
from prometheus_client import CollectorRegistry, generate_latest

from huey_otel._safety.encodable import LONGEST
from huey_otel._safety.losses import Losses
from huey_otel._wire.carrier import decode
from huey_otel._wire.record import TaskFacts
from tests.support.recorded import Drain, Recorded
from tests.support.spans import Spans
from tests.support.strict_readers import encoded, event_of, labels_of

ODD = json.loads('"party \\ud83c"')
SAID = "party \\ud83c"
PATH = os.fsdecode(b"caf\xe9")
LONG = "x" * 10**6
EARLIEST = datetime.datetime.min  # noqa: DTZ901 - huey's are naive
LATEST = datetime.datetime.max  # noqa: DTZ901 - likewise
CUT = "x" * (LONGEST - 3) + "..."


class Strict:
    """An instrumented huey, both of its sides, and strict readers of all it says."""

    def __init__(self, huey: Huey, **options: object) -> None:
        self.huey = huey
        self.registry = CollectorRegistry()
        self.spans = Spans()
        self.seen = Recorded(
            huey,
            registry=self.registry,
            tracer_provider=self.spans.provider,
            publish_enqueued=True,
            semconv_metrics=True,
            **options,
        )
        # As in a consumer, whose page has all metrics.
        self.seen.instrumentation._shared.consumes()
        route = self.seen.instrumentation._outputs.route
        route.sinks = (*route.sinks, self.seen)
        self.drain = Drain(huey)

    @property
    def events(self) -> list[dict[str, object]]:
        records = self.seen.records
        assert records
        return [event_of(record, source) for record, source in self.seen._records]

    @property
    def statuses(self) -> list[str]:
        return [str(event["status"]) for event in self.seen.published]

    @property
    def page(self) -> bytes:
        self.seen.records  # noqa: B018 - handles what was sent
        return generate_latest(self.registry)

    def span(self, name: str) -> dict[str, object]:
        """The attributes of the one span that *name* begins the name of."""
        assert len(encoded(self.spans.all)) == len(self.spans.all)
        (found,) = [one for one in self.spans.all if one.name.startswith(name)]
        return dict(found.attributes or {})


@pytest.fixture
def strict(huey: Huey) -> Strict:
    return Strict(huey)


@pytest.fixture(autouse=True)
def nothing_is_complained_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """OpenTelemetry logs what it cannot take."""
    # huey logs what a task raises, and pytest-xdist sends no log that is no UTF-8.
    monkeypatch.setattr(logging.getLogger("huey"), "disabled", value=True)
    yield
    assert [r.message for r in caplog.records if r.name.startswith("opentel")] == []


def run(strict: Strict, task: Task) -> None:
    strict.huey.enqueue(task)
    strict.drain()
    strict.drain.ripe()


def facts_of(strict: Strict, task: Task) -> TaskFacts:
    """What all records of *task*'s first run say of it."""
    observation = strict.seen.instrumentation._observation
    assert observation is not None
    return observation.execution._recorder.facts(task, 1)


def due(task: Task, eta: datetime.datetime) -> Task:
    task.eta = eta
    return task


def test_an_exception_that_is_no_utf_8_is_told_everywhere(strict):
    class OddError(Exception):
        pass

    OddError.__module__ = PATH

    @strict.huey.task()
    def fail():
        raise OddError(ODD)

    run(strict, fail.s())

    (event,) = [one for one in strict.events if one["status"] == "error-task"]
    class_name = f"caf\\udce9.{OddError.__qualname__}"
    assert event["exception"] == class_name
    assert event["traceback"].splitlines()[-1] == f"{class_name}: {SAID}"
    assert strict.span("process")["error.type"] == class_name
    (span,) = [one for one in strict.spans.all if one.name.startswith("process")]
    assert span.status.description == SAID
    (recorded,) = span.events
    assert recorded.attributes["exception.message"] == SAID
    assert recorded.attributes["exception.stacktrace"] == event["traceback"]
    assert class_name in labels_of(strict.page)


def test_a_queue_name_that_is_not_utf_8_is_shown_everywhere():
    strict = Strict(MemoryHuey(ODD))

    @strict.huey.task()
    def add():
        pass

    run(strict, add.s())

    assert {event["queue"] for event in strict.events} == {SAID}
    assert strict.span("enqueue")["messaging.destination.name"] == SAID
    assert strict.span("process")["messaging.destination.name"] == SAID
    assert SAID in labels_of(strict.page)


def test_a_producer_of_a_queue_that_is_no_utf_8_keeps_its_page():
    registry = CollectorRegistry()
    huey = MemoryHuey(ODD)
    Recorded(huey, registry=registry)
    add = huey.task()(lambda: None)

    add()

    assert SAID in labels_of(generate_latest(registry))


@pytest.mark.parametrize(
    ("module", "said"),
    [(PATH, "caf\\udce9.add"), (LONG, CUT)],
    ids=["no UTF-8", "a million characters"],
)
def test_a_task_with_an_odd_name_is_told_everywhere(strict, module, said):
    @strict.huey.task()
    def add():
        pass

    kind = add.task_class
    strict.huey._registry.unregister(kind)
    kind.__module__ = module
    strict.huey._registry.register(kind)

    run(strict, add.s())

    assert strict.statuses == ["enqueued", "started", "finished"]
    assert {event["name"] for event in strict.events} == {said}
    assert strict.span("enqueue")["huey.task.name"] == said
    assert strict.span("process")["huey.task.name"] == said
    assert said in labels_of(strict.page)


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("mute")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        pytest.param(ODD, SAID, id="no UTF-8"),
        pytest.param(LONG, CUT, id="a million characters"),
        pytest.param("a\0b", "a\0b", id="a control character"),
        pytest.param(7, "7", id="a number"),
        pytest.param(2**70, str(2**70), id="a large number"),
        pytest.param(("a", 1), "('a', 1)", id="a tuple"),
        pytest.param(b"\xff", "b'\\xff'", id="bytes"),
        pytest.param(Mute(), "<Mute>", id="what raises"),
    ],
)
def test_a_task_with_an_odd_id_is_told_everywhere(strict, identity, said):
    @strict.huey.task()
    def add():
        pass

    task = add.s()
    task.id = identity
    task.revoke_id = "r"
    strict.seen.instrumentation._huey.execute(task)

    assert strict.statuses == ["started", "finished"]
    assert {event["id"] for event in strict.events} == {said}
    assert strict.span("process")["messaging.message.id"] == said


def test_an_id_that_cannot_be_read_costs_the_id_alone(strict):
    @strict.huey.task()
    def add():
        pass

    def unreadable(_task):
        raise RuntimeError("no id")

    task = add.s()
    task.__class__ = type("add", (type(task),), {"id": property(unreadable)})
    # huey reads it as well, which raises, so only what we do is asked here.
    facts = facts_of(strict, task)

    assert (facts.id, facts.task, facts.attempt) == ("_unknown", "add", 1)


@pytest.mark.parametrize(
    ("priority", "said"),
    [
        (5, 5),
        (0.5, 0.5),
        (True, 1),
        (2**70, None),
        (-(2**63) - 1, None),
        (10**5_000, None),
        (float("nan"), None),
        ("urgent", None),
        (ODD, None),
        (Mute(), None),
        ([1], None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_odd_priority_is_left_out(strict, priority, said):
    @strict.huey.task()
    def add():
        pass

    task = add.s()
    task.priority = priority
    strict.huey.execute(task)

    assert strict.statuses == ["started", "finished"]
    assert strict.span("process").get("huey.task.priority") == said


@pytest.mark.parametrize(
    ("retries", "said"),
    [(None, None), (2.5, 2.5), (2**70, None), (10**5_000, None), ("3", None)],
    ids=lambda value: type(value).__name__,
)
def test_odd_retries_are_left_out(strict, retries, said):
    @strict.huey.task()
    def add():
        pass

    task = add.s()
    task.retries = retries
    strict.huey.execute(task)

    assert strict.statuses == ["started", "finished"]
    assert strict.span("process").get("huey.task.retries_left") == said


def test_a_retry_of_a_task_with_odd_retries_is_told(strict):
    @strict.huey.task()
    def fail():
        raise ValueError

    task = fail.s()
    task.retries = "3"
    with pytest.raises(TypeError):
        strict.huey.execute(task)

    assert strict.statuses == ["started", "error-task", "retrying", "error-internal"]
    assert strict.span("process")["huey.task.outcome"] == "error"


@pytest.mark.parametrize(
    ("delay", "said"),
    [
        (0, 0),
        (1.5, 1.5),
        (-5, -5),
        (float("nan"), None),
        (float("inf"), None),
        (10**5_000, None),
        ("soon", None),
        (ODD, None),
        (Mute(), None),
        (datetime.timedelta(seconds=5), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_odd_retry_delay_is_left_out(strict, delay, said):
    @strict.huey.task(retry_delay=1)
    def add():
        pass

    task = add.s()
    task.retry_delay = delay
    strict.huey.execute(task)

    assert strict.statuses == ["started", "finished"]
    assert {event["retry_delay"] for event in strict.events} == {said}
    assert "huey.task.outcome" in strict.span("process")


class BrokenZone(datetime.tzinfo):
    """A time zone whose offset cannot be read."""

    def utcoffset(self, _):
        raise RuntimeError("no offset")

    dst = tzname = utcoffset


@pytest.fixture(params=[True, False], ids=["utc", "local"])
def timed(request: pytest.FixtureRequest) -> Strict:
    return Strict(MemoryHuey("my-app", utc=request.param))


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Tokyo"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("zone")
def test_a_task_that_was_due_in_the_year_1_is_told_everywhere(timed):
    @timed.huey.task()
    def add():
        pass

    run(timed, due(add.s(), EARLIEST))

    assert timed.statuses == ["enqueued", "started", "finished"]
    assert "huey.task.outcome" in timed.span("process")
    assert "messaging.message.id" in timed.span("enqueue")
    assert b'huey_tasks_enqueued_total{origin="call"' in timed.page


@pytest.mark.usefixtures("zone")
def test_a_task_that_is_due_in_the_year_9999_is_told_everywhere(timed):
    @timed.huey.task()
    def add():
        pass

    timed.huey.enqueue(due(add.s(), LATEST))
    timed.drain()

    assert timed.statuses == ["enqueued", "scheduled"]
    assert "messaging.message.id" in timed.span("enqueue")


def test_a_time_zone_that_raises_costs_the_time_alone(strict):
    @strict.huey.task()
    def add():
        pass

    task = add.s()
    task.eta = datetime.datetime(2020, 1, 1, tzinfo=BrokenZone())
    # huey compares it, which raises, so only what we do is asked here.
    facts = facts_of(strict, task)

    assert facts.execute_time is None
    assert facts.name.endswith("add")


def test_odd_baggage_costs_itself_alone(strict):
    @strict.huey.task()
    def add():
        pass

    context = contexts.get_current()
    for name, value in (
        ("user", "ann"),
        ("mood", ODD),
        (ODD, "x"),
        ("mute", Mute()),
        ("number", 5),
    ):
        context = baggage.set_baggage(name, value, context)
    token = contexts.attach(context)
    try:
        add()
    finally:
        contexts.detach(token)

    headers = decode(strict.huey.storage.dequeue()).texts
    read = baggage.get_all(propagate.extract(dict(headers)))
    assert dict(read) == {"user": "ann", "mood": SAID, "number": "5"}
    assert "traceparent" in headers


class Broken(TextMapPropagator):
    """One that can neither read nor write."""

    def inject(self, *_args, **_options):
        raise RuntimeError("no")

    extract = inject
    fields = frozenset[str]()


@pytest.mark.parametrize("side", ["producer", "worker"])
def test_a_propagator_that_raises_costs_the_trace_alone(strict, side, losses: Losses):
    @strict.huey.task()
    def add():
        pass

    before = propagate.get_global_textmap()
    try:
        if side == "producer":
            propagate.set_global_textmap(Broken())
        add()
        propagate.set_global_textmap(Broken() if side == "worker" else before)
        strict.drain()
    finally:
        propagate.set_global_textmap(before)

    assert strict.statuses == ["enqueued", "started", "finished"]
    assert strict.span("enqueue")["huey.task.name"].endswith("add")
    assert strict.span("process")["huey.task.outcome"] == "success"
    assert losses.counts() == {"carrier": 1}
