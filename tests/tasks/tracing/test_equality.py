"""Light spans say what the SDK's own say, field by field, whatever a task does."""

import copy
import logging
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any
from unittest import mock

import pytest
from huey import MemoryHuey
from huey.api import Huey
from huey.exceptions import CancelExecution, RetryTask
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as contexts
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags
from prometheus_client import CollectorRegistry

from huey_otel import instrument
from huey_otel._otel import light
from huey_otel.sampling import LinksBased
from tests.support.recorded import Drain
from tests.support.timeouts import alarm

REMOTE = {
    "traceparent": f"00-{0xA:032x}-{0xB:016x}-01",
    "tracestate": "vendor=v",
    "baggage": "user=ada,tier=gold",
}
_STEP = 1_000_000_000

OTHER = SpanContext(0xC, 0xD, is_remote=True, trace_flags=TraceFlags(1))
WITH_STATE = SpanContext(
    0xC, 0xE, is_remote=False, trace_state=trace.TraceState([("a", "b"), ("c", "d")])
)


@pytest.fixture(autouse=True)
def way() -> None:
    """Each test takes both ways itself."""


class Ids(IdGenerator):
    """The same ids in the same order, of which one in a hundred is sampled."""

    def __init__(self) -> None:
        self._random = random.Random(7)

    def generate_span_id(self) -> int:
        return self._random.getrandbits(64)

    def generate_trace_id(self) -> int:
        return self._random.getrandbits(128)

    def is_trace_id_random(self) -> bool:
        return True


class Opinionated(Sampler):
    """Adds attributes and a trace state, as it likes."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
        context, _, name, kind, attributes, links = args
        said = {
            "asked": f"{name} {kind} {sorted(attributes or ())} {len(links)}",
            "parent": trace.get_current_span(context).get_span_context().span_id,
            **(attributes or {}),
        }
        state = trace.TraceState([("sampled", "here")])
        return SamplingResult(self._decision, said, state)

    def get_description(self) -> str:
        return "opinionated"


def fail_and_retry(huey: Huey) -> Callable[[], Any]:
    @huey.task(retries=2, context=True)
    def send(task=None):
        raise ValueError("Ошибка" * 8_000)

    return send


def cancel(huey: Huey) -> Callable[[], Any]:
    @huey.task(priority=7)
    def send():
        raise CancelExecution(retry=False)

    return send


def ask_for_a_retry(huey: Huey) -> Callable[[], Any]:
    left = [None]

    @huey.task(priority=1.5)
    def send():
        if left:
            left.pop()
            raise RetryTask

    return send


def locked(huey: Huey) -> Callable[[], Any]:
    send = huey.task()(huey.lock_task("one")(lambda: None))

    def enqueue():
        huey.lock_task("one").__enter__()
        send()

    return enqueue


def say_much(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        span = trace.get_current_span()
        for number in range(200):
            span.set_attribute(f"attribute {number}", number)
        for number in range(140):
            span.add_event(f"event {number}", {"number": number}, number)
            span.add_link(OTHER, {"number": number})

    return send


def say_odd_things(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        span = trace.get_current_span()
        span.set_attributes({"none": None, "mixed": [1, "a"], "object": object})
        span.set_attributes({"huey.task.outcome": 5, "list": [1, 2], "": "empty"})
        span.set_attribute("huey.task.attempt", "overwritten")
        span.update_name("renamed")
        span.set_status(Status(StatusCode.OK))

    return send


def fail_with_a_status_of_ones_own(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        span = trace.get_current_span()
        span.set_status(StatusCode.ERROR, "mine")
        span.record_exception(KeyError("mine"), timestamp=5)
        raise ValueError("theirs")

    return send


def end_it(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        span = trace.get_current_span()
        assert span.is_recording()
        span.end(span.start_time + 5)
        assert not span.is_recording()

    return send


def use_it(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        with trace.use_span(trace.get_current_span(), end_on_exit=True):
            raise ValueError("inside")

    return send


def run_out_of_time(huey: Huey) -> Callable[[], Any]:
    exceptions = pytest.importorskip("huey.exceptions")
    if not hasattr(exceptions, "TaskTimeout"):
        pytest.skip("huey 2 has no timeouts")
    huey._timeout_handler = alarm()

    @huey.task(timeout=60, retries=1)
    def send():
        signal.raise_signal(signal.SIGALRM)

    return send


def say_it_in_all_ways(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        span = trace.get_current_span()
        span.set_status(StatusCode.ERROR, "first")
        span.set_status(Status(StatusCode.ERROR, "second"), "ignored")
        span.set_status(StatusCode.UNSET)
        span.record_exception(KeyError("a"), {"exception.type": "own", "b": (1, True)})
        span.record_exception(KeyError("b"), escaped=True)
        span.add_link(trace.INVALID_SPAN_CONTEXT)
        span.add_link(trace.INVALID_SPAN_CONTEXT, {"kept": 1})
        span.add_link(WITH_STATE, {"": 1, "bytes": b"b", "list": [1.5, 2.5]})
        span.add_event("", {"true": True, "one": 1, "float": 1.0}, 7)

    return send


def end_it_on_a_thread(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        span = trace.get_current_span()
        thread = threading.Thread(target=span.end)
        thread.start()
        thread.join()
        assert not span.is_recording()
        span.set_attribute("late", 1)
        span.end()
        raise ValueError("later")

    return send


def tell_it_apart(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        span: Any = trace.get_current_span()
        kind = f"{type(span)} {type(span).__name__}"
        before, known = hash(span), {span}
        copied = copy.copy(span)
        copied.set_attribute("copied", 1)
        assert (hash(span), span in known, span == copied) == (before, True, False)
        assert vars(copied)["_attributes"] is vars(span)["_attributes"]
        span.set_attributes({"kind": kind, "shown": repr(span)})
        with pytest.raises(TypeError, match="cannot pickle"):
            copy.deepcopy(span)

    return send


def take_it_apart(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        vars(trace.get_current_span())["_attributes"]["taken"] = 1

    return send


def look_at_it(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        span: Any = trace.get_current_span()
        assert isinstance(span, ReadableSpan)
        assert span.attributes["huey.task.attempt"] == 1
        assert span.instrumentation_scope.name == "huey-otel"
        assert '"huey.task.name"' in span.to_json()
        assert not hasattr(span, "unheard_of")
        span.marked = True

    return send


def make_children(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        with huey.tracer.start_as_current_span("outer"):
            huey.tracer.start_span("inner").end()

    return send


def follow_up(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def after(value): ...

    @huey.task()
    def send():
        return 1

    @huey.post_execute()
    def touch(task, value, error):
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attribute("after", "all")

    return lambda: huey.enqueue(send.s().then(after))


def together(huey: Huey) -> Callable[[], Any]:
    api = pytest.importorskip("huey.api")
    if not hasattr(api, "chord"):
        pytest.skip("huey 2 has no chords")

    @huey.task()
    def send(number=0):
        return number

    @huey.task()
    def gather(values): ...

    def enqueue():
        members = [send.s(1), send.s(2)]
        huey.enqueue(api.chord(members, gather.s()))
        huey.enqueue(api.group(members))

    return enqueue


def come_from_afar(huey: Huey) -> Callable[[], Any]:
    send = huey.task(retries=1)(lambda: 1 / 0)

    def enqueue():
        before = contexts.get_current()
        contexts.attach(propagate.extract(REMOTE))
        try:
            send()
        finally:
            contexts.attach(before)

    return enqueue


def carry_baggage(huey: Huey) -> Callable[[], Any]:
    @huey.task()
    def send():
        trace.get_current_span().set_attribute("user", str(baggage.get_baggage("user")))

    def enqueue():
        before = contexts.get_current()
        contexts.attach(baggage.set_baggage("user", "ada"))
        try:
            send()
        finally:
            contexts.attach(before)

    return enqueue


def run_at_once(huey: Huey) -> Callable[[], Any]:
    @huey.task(retries=1)
    def send():
        raise ValueError

    def enqueue():
        huey.immediate = True
        try:
            send()
        finally:
            huey.immediate = False

    return enqueue


def revoke(huey: Huey) -> Callable[[], Any]:
    send = huey.task()(lambda: None)

    def enqueue():
        send().revoke()

    return enqueue


def storage_is_away(huey: Huey) -> Callable[[], Any]:
    send = huey.task()(lambda: None)

    def enqueue():
        def away(*_, **__):
            raise ConnectionError("away")

        huey.storage.enqueue = away
        with pytest.raises(ConnectionError):
            send()
        del huey.storage.enqueue

    return enqueue


SCENES = [
    *(fail_and_retry, cancel, locked, ask_for_a_retry, say_much, say_odd_things),
    *(fail_with_a_status_of_ones_own, end_it, use_it, look_at_it, make_children),
    *(run_out_of_time, say_it_in_all_ways, end_it_on_a_thread),
    *(tell_it_apart, take_it_apart),
    *(follow_up, together, come_from_afar, carry_baggage, run_at_once, revoke),
    storage_is_away,
]


def said(span: ReadableSpan) -> dict[str, Any]:
    """All of *span* but its times, of which it has how they follow each other."""
    ids = span.context
    return {
        "name": span.name,
        "kind": span.kind,
        "context": (*ids[:3], int(ids[3]), ids[4].to_header(), ids[5]),
        "parent": span.parent,
        "attributes": [*told(span.attributes)],
        "events": [
            (
                *(one.name, [*told(one.attributes)], one.dropped_attributes),
                one.timestamp if one.timestamp < 1e9 else within(span, one.timestamp),
            )
            for one in span.events
        ],
        "links": [
            (one.context, [*told(one.attributes or {})], one.dropped_attributes)
            for one in span.links
        ],
        "status": (span.status.status_code, span.status.description),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "resource": span.resource,
        "scope": span.instrumentation_scope,
    }


def within(span: ReadableSpan, timestamp: int) -> bool:
    """Whether it is of the span's time; the clock of a virtual machine may go back."""
    return span.start_time - _STEP <= timestamp <= span.end_time + _STEP


def told(attributes: Mapping[str, Any]) -> Any:
    """What *attributes* say; True, 1 and 1.0 are equal, and not the same to OTLP."""
    for name, value in attributes.items():
        timed = name in ("huey.task.wait", "messaging.message.id")
        yield name, type(value) if timed else repr(value)


def made(scene: Any, provider: TracerProvider, propagation: str) -> Any:
    """How *scene* made its spans, and what they say, in the order of their export."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    huey: Any = MemoryHuey("shop")
    huey.tracer = provider.get_tracer("application")
    seen = instrument(
        huey,
        registry=CollectorRegistry(),
        tracer_provider=provider,
        propagation=propagation,
    )
    scene(huey)()
    Drain(huey)()
    way = seen._outputs.tracer.resolved().spans.way
    seen.uninstrument()
    provider.force_flush()
    provider.shutdown()
    return way, [said(span) for span in exporter.get_finished_spans()]


def provided(
    environ: Mapping[str, str] | None = None, **options: Any
) -> TracerProvider:
    options.setdefault("id_generator", Ids())
    options.setdefault("resource", Resource({"service.name": "shop"}))
    with mock.patch.dict(os.environ, environ or {}):
        return TracerProvider(shutdown_on_exit=False, **options)


PROVIDERS: dict[str, Callable[[], dict[str, Any]]] = {
    "default": dict,
    "limits": lambda: {
        "span_limits": SpanLimits(
            max_span_attributes=9,
            max_events=1,
            max_links=1,
            max_event_attributes=1,
            max_link_attributes=1,
            max_attribute_length=10,
            max_span_attribute_length=5,
        )
    },
    "few, by the environment": lambda: {
        "environ": {
            "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "7",
            "OTEL_SPAN_EVENT_COUNT_LIMIT": "2",
            "OTEL_SPAN_LINK_COUNT_LIMIT": "1",
            "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "2",
            "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "0",
        }
    },
    "short, by the environment": lambda: {
        "environ": {
            "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "12",
            "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3",
        }
    },
    "none, by the environment": lambda: {
        "environ": {
            "OTEL_ATTRIBUTE_COUNT_LIMIT": "0",
            "OTEL_SPAN_EVENT_COUNT_LIMIT": "0",
            "OTEL_SPAN_LINK_COUNT_LIMIT": "0",
        }
    },
    "attributes and state": lambda: {
        "sampler": Opinionated(Decision.RECORD_AND_SAMPLE)
    },
    "recorded only": lambda: {"sampler": Opinionated(Decision.RECORD_ONLY)},
    "dropped": lambda: {"sampler": Opinionated(Decision.DROP)},
    "off": lambda: {"sampler": ALWAYS_OFF},
    "ratio 0.0": lambda: {"sampler": ParentBased(TraceIdRatioBased(0.0))},
    "ratio 0.5": lambda: {"sampler": LinksBased(ParentBased(TraceIdRatioBased(0.5)))},
    "own delegates": lambda: {
        "sampler": ParentBased(TraceIdRatioBased(0.5), local_parent_sampled=ALWAYS_OFF)
    },
}


OFTEN = ("default", "ratio 0.5")
"""Providers of which both propagations are always tried; the others' in the proof."""

CASES = [
    pytest.param(
        *(propagation, options),
        id=f"{name}-{propagation}",
        marks=[] if name in OFTEN or propagation == "child" else pytest.mark.proof,
    )
    for name, options in PROVIDERS.items()
    for propagation in ("child", "link")
]


@pytest.mark.parametrize(("propagation", "options"), CASES)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
@pytest.mark.usefixtures("losses")
def test_a_light_span_says_what_the_sdks_own_says(
    scene: Any,
    options: Callable[[], dict[str, Any]],
    propagation: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    ways, spans, warnings = [], [], []
    for plain in ({BatchSpanProcessor}, set()):
        monkeypatch.setattr(light, "PLAIN", plain)
        caplog.clear()
        way, exported = made(scene, provided(**options()), propagation)
        ways.append(way.partition(":")[0])
        spans.append(exported)
        warnings.append(Counter(filter(None, map(warned, caplog.records))))

    assert ways == ["light", "by the provider's tracer"]
    assert spans[0] == spans[1]
    assert warnings[0] == warnings[1]


def warned(record: logging.LogRecord) -> str:
    """What the SDK says in *record*, on any thread."""
    sdk = record.name.startswith("opentelemetry.")
    return record.getMessage() if sdk else ""
