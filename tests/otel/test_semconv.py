"""Names, types and metrics, against OpenTelemetry's own package of conventions."""

import ast
import inspect
from collections import Counter
from typing import Any

import pytest
from huey import Huey, MemoryHuey, api
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv._incubating.metrics import messaging_metrics
from opentelemetry.semconv.attributes import error_attributes, exception_attributes

from huey_otel import _names as n
from huey_otel import instrument
from huey_otel._options.buckets import SEMCONV_BUCKETS
from huey_otel._otel.semconv import SemconvMetrics
from huey_otel._relay.overflow import Overflow
from huey_otel._wire.record import Source
from tests.support.metrics import record
from tests.support.recorded import EARLIER, Drain, Recorded
from tests.support.spans import Spans

HERE = "tests.otel.test_semconv"

# The types of the attributes' registry, which the package does not have.
TYPES = {
    "messaging.batch.message_count": int,
    "messaging.client.id": str,
    "messaging.destination.name": str,
    "messaging.message.id": str,
    "messaging.operation.name": str,
    "messaging.operation.type": str,
    "messaging.system": str,
    "error.type": str,
}


def current_names(module: Any) -> set[str]:
    """The names in *module* that its documentation does not call deprecated."""
    body = ast.parse(inspect.getsource(module)).body
    names = set()
    for place, node in enumerate(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
            after = body[place + 1] if place + 1 < len(body) else node
            text = ast.unparse(after) if isinstance(after, ast.Expr) else ""
            if "Deprecated" not in text:
                names.add(node.value.value)
    return names


def test_every_name_of_ours_is_a_current_one():
    ours = {
        value
        for value in vars(n).values()
        if isinstance(value, str)
        and value.startswith(("messaging.", "error.", "exception."))
    }

    known = current_names(messaging_attributes) | current_names(messaging_metrics)
    known |= current_names(error_attributes) | current_names(exception_attributes)
    assert ours - known == set()
    assert len(ours) == 15


@pytest.fixture
def spans(huey) -> Spans:
    """The spans of a task of each kind."""
    spans = Spans()
    Recorded(huey, tracer_provider=spans.provider)

    @huey.task(retries=1, priority=3)
    def fail():
        raise ValueError

    @huey.task()
    def add():
        pass

    fail.schedule(eta=EARLIER)
    huey.revoke(task := add.s())
    huey.enqueue(task)
    huey.enqueue(add.s(expires=EARLIER))
    if hasattr(api, "group"):
        huey.enqueue(api.group([add.s(), add.s()]))
    Drain(huey)()
    return spans


def test_every_attribute_of_a_span_has_its_type(spans):
    seen = {
        (name, type(value))
        for span in spans.all
        for name, value in span.attributes.items()
        if not name.startswith("huey.")
    }

    expected = set(TYPES.items())
    if not hasattr(api, "group"):
        expected.discard(("messaging.batch.message_count", int))
    assert seen == expected


def test_the_operation_types_are_those_of_the_conventions(spans):
    known = {one.value for one in messaging_attributes.MessagingOperationTypeValues}

    used = {span.attributes["messaging.operation.type"] for span in spans.all}

    assert used == {"send", "process"}
    assert used | {n.TYPE_RECEIVE} <= known


class Meters:
    """A meter provider, and what it has recorded."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    @property
    def metrics(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        return {
            metric.name: metric
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def counted(self) -> Counter[tuple[str, ...]]:
        """How many, by metric, operation, task and error."""
        counted: Counter[tuple[str, ...]] = Counter()
        for name, metric in self.metrics.items():
            for point in metric.data.data_points:
                assert point.attributes["messaging.system"] == "huey"
                assert point.attributes["messaging.destination.name"] == "my-app"
                key = (
                    name.removeprefix("messaging."),
                    point.attributes["messaging.operation.name"],
                    point.attributes["messaging.operation.type"],
                    point.attributes["huey.task.name"].removeprefix(f"{HERE}."),
                    point.attributes.get("error.type", ""),
                )
                is_histogram = isinstance(point, HistogramDataPoint)
                counted[key] = point.count if is_histogram else point.value
        return counted


@pytest.fixture
def meters() -> Meters:
    return Meters()


def run_one(huey: Huey, seen: Recorded) -> None:
    """Enqueue a task that does nothing, run it, and deliver all records."""

    @huey.task()
    def add():
        pass

    add()
    Drain(huey)()
    seen.instrumentation.flush()


def test_the_metrics_are_those_of_the_conventions(huey, meters):
    theirs = Meters()
    meter: Meter = theirs.provider.get_meter("theirs")
    made = [
        messaging_metrics.create_messaging_client_operation_duration(meter),
        messaging_metrics.create_messaging_client_sent_messages(meter),
        messaging_metrics.create_messaging_client_consumed_messages(meter),
        messaging_metrics.create_messaging_process_duration(meter),
    ]
    for one in made:
        (one.record if hasattr(one, "record") else one.add)(1)
    seen = Recorded(huey, semconv_metrics=True, meter_provider=meters.provider)

    run_one(huey, seen)

    def told(metrics: dict[str, Any]) -> dict[str, Any]:
        return {name: (one.unit, type(one.data)) for name, one in metrics.items()}

    assert told(meters.metrics) == told(theirs.metrics)
    (point,) = meters.metrics["messaging.process.duration"].data.data_points
    assert tuple(point.explicit_bounds) == SEMCONV_BUCKETS


def test_they_count_what_happened(huey, meters):
    seen = Recorded(huey, semconv_metrics=True, meter_provider=meters.provider)

    @huey.task()
    def add(a, b):
        return a + b

    @huey.task(retries=1)
    def fail():
        raise ValueError

    huey.enqueue(add.s(1, 2).then(add, 3))
    fail()
    huey.revoke(task := add.s(1, 2))
    huey.enqueue(task)
    Drain(huey)()
    seen.instrumentation.flush()

    send, receive, process = (
        *(("enqueue", "send"), ("dequeue", "receive"), ("process", "process")),
    )
    assert meters.counted == {
        ("client.sent.messages", *send, "add", ""): 3,
        ("client.sent.messages", *send, "fail", ""): 1,
        ("client.operation.duration", *send, "add", ""): 3,
        ("client.operation.duration", *send, "fail", ""): 1,
        ("client.consumed.messages", *receive, "add", ""): 3,
        ("client.consumed.messages", *receive, "fail", ""): 2,
        ("process.duration", *process, "add", ""): 2,
        ("process.duration", *process, "fail", "ValueError"): 2,
    }


def test_an_enqueue_that_fails_was_an_attempt_to_send(huey, meters):
    seen = Recorded(huey, semconv_metrics=True, meter_provider=meters.provider)

    @huey.task()
    def add():
        pass

    def refuse(*_args):
        raise OSError("offline")

    huey.storage.enqueue = refuse
    with pytest.raises(OSError, match="offline"):
        add()
    seen.instrumentation.flush()

    assert meters.counted == {
        ("client.sent.messages", "enqueue", "send", "add", "OSError"): 1,
        ("client.operation.duration", "enqueue", "send", "add", "OSError"): 1,
    }


def test_the_duration_is_that_of_the_span(huey, meters):
    spans = Spans()
    seen = Recorded(
        huey,
        semconv_metrics=True,
        meter_provider=meters.provider,
        tracer_provider=spans.provider,
    )

    run_one(huey, seen)

    (point,) = meters.metrics["messaging.process.duration"].data.data_points
    span = spans.one("process add")
    assert point.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-6)


def test_without_consent_nothing_is_told(huey, meters):
    seen = Recorded(huey, meter_provider=meters.provider)

    run_one(huey, seen)

    assert meters.metrics == {}
    assert "sent" not in [record.status for record in seen.records]


def test_sums_count_as_many_as_they_are(meters):
    sink = SemconvMetrics(lambda: meters.provider)
    source = Source(queue="my-app", host="here")
    failed = {"outcome": "error", "final": "failure", "exception": "ValueError"}
    overflow = Overflow()
    for seconds in (0.5, 0.5, 1.0):
        overflow.add(record("ended", name=f"{HERE}.add", duration=seconds, **failed))

    for one in overflow.take():
        sink(one, source)

    process = ("process.duration", "process", "process", "add", "ValueError")
    assert meters.counted == {process: 3}


def test_a_lost_attempt_is_told_and_the_schedulers_hands_are_not(meters):
    sink = SemconvMetrics(lambda: meters.provider)
    source = Source(queue="my-app", host="here")

    sink(record("lost", name=f"{HERE}.add", duration=2.0), source)
    sink(record("dequeued", name=f"{HERE}.add", worker="Scheduler"), source)

    process = ("process.duration", "process", "process", "add", "lost")
    assert meters.counted == {process: 1}


def test_names_of_tasks_are_bounded(meters):
    sink = SemconvMetrics(lambda: meters.provider)
    source = Source(queue="my-app", host="here")

    for number in range(600):
        sink(record("dequeued", name=f"{HERE}.task{number}"), source)

    assert len(meters.counted) == 501
    consumed = ("client.consumed.messages", "dequeue", "receive")
    assert meters.counted[*consumed, "_other", ""] == 100


def test_something_else_is_no_provider():
    with pytest.raises(TypeError, match="meter_provider=7: expected an"):
        instrument(MemoryHuey("my-app"), meter_provider=7)
