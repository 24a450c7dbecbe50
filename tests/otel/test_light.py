"""Light spans: which provider has them, and what becomes of one that is touched."""

import copy
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    ReadableSpan,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    TracerProvider,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from huey_otel._otel import light
from huey_otel._otel.light import LightSpan
from huey_otel._otel.provider import ResolvedProvider
from huey_otel._otel.spans import close
from huey_otel.sampling import LinksBased
from tests.support.forks import said_in_child

LIGHT = "light"
SDK = "by the provider's tracer: "


class Provided:
    """A provider with one processor, which exports to memory."""

    def __init__(self, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        self.processor = BatchSpanProcessor(self.exporter)
        self.provider.add_span_processor(self.processor)
        self.resolved = ResolvedProvider(self.provider, "to a test")

    def start(self, **attributes: Any) -> Any:
        describe = lambda: ("light", dict(attributes))  # noqa: E731
        spans = self.resolved.spans
        span, _ = spans.start(describe, (), SpanKind.PRODUCER, None, None)
        return span

    @property
    def exported(self) -> list[ReadableSpan]:
        self.provider.force_flush()
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def provided() -> Iterator[Provided]:
    made = Provided()
    yield made
    made.provider.shutdown()


def is_light(span: object) -> bool:
    return type(span) is LightSpan


def test_ids_and_being_current_do_not_touch_a_span(provided: Provided):
    span = provided.start()

    with trace.use_span(span, end_on_exit=False):
        current: Any = trace.get_current_span()
        seen = (
            *(current.get_span_context().is_valid, current.is_recording()),
            *(current.context is current.get_span_context(), current.end_time),
        )

    assert seen == (True, True, True, None)
    assert is_light(span)
    assert isinstance(span, sdk.Span)


def test_what_it_says_is_made_when_the_exporter_asks(provided: Provided):
    asked = []

    def describe(text: str) -> tuple[str, dict[str, str]]:
        asked.append(threading.current_thread().name)
        return "light", {"text": text}

    spans = provided.resolved.spans
    span, _ = spans.start(describe, ("a",), SpanKind.PRODUCER, None, None)
    close(span, 2**62)
    (exported,) = provided.exported
    before = list(asked)

    assert (before, dict(exported.attributes)) == ([], {"text": "a"})
    assert (exported.name, exported.end_time) == ("light", 2**62)


@pytest.mark.parametrize(
    "touch",
    [
        lambda span: span.set_attribute("k", 1),
        lambda span: span.set_attributes({"k": 1}),
        lambda span: span.add_event("e"),
        lambda span: span.update_name("n"),
        lambda span: span.set_status(StatusCode.OK),
        lambda span: span.record_exception(ValueError()),
        lambda span: span.attributes,
        lambda span: span.name,
        lambda span: span.resource,
        lambda span: span.status,
        lambda span: span.to_json(),
        lambda span: span.instrumentation_scope,
        repr,
        copy.copy,
        vars,
        lambda span: setattr(span, "__dict__", {**vars(span)}),
        lambda span: span.parent,
        lambda span: span.kind,
        lambda span: span.start_time,
        lambda span: setattr(span, "_name", "light"),
        lambda span: span.end(),
    ],
)
def test_the_first_touch_makes_it_the_sdks_own(touch: Any, provided: Provided):
    span = provided.start(a=1)
    ids = span.get_span_context()

    touch(span)

    assert type(span) is sdk._Span
    assert span.get_span_context() is ids
    assert span.attributes["a"] == 1
    assert not any(name.startswith("_huey") for name in vars(span))


def test_it_is_shown_as_the_sdks_own(provided: Provided):
    span = provided.start()

    first, again = repr(span), repr(span)

    assert first == again
    assert first.startswith("_Span(")


def test_it_has_no_attributes_but_those_of_the_sdks_own(provided: Provided):
    span = provided.start()

    assert not hasattr(span, "unheard_of")
    assert is_light(span)


def test_a_mark_of_the_applications_stays(provided: Provided):
    span = provided.start()

    span.marked = 5
    span.set_attribute("k", 1)

    assert (span.marked, dict(span.attributes)) == (5, {"k": 1})


def test_threads_that_touch_a_span_first_all_set_what_they_set(provided: Provided):
    for _ in range(200):
        span = provided.start()
        barrier = threading.Barrier(8)

        def touch(number: int, span: Any = span, barrier: Any = barrier) -> None:
            barrier.wait()
            span.set_attribute(f"from {number}", number)

        threads = [threading.Thread(target=touch, args=(one,)) for one in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(span.attributes.values()) == list(range(8))


def test_a_touch_while_it_ends_keeps_its_end(provided: Provided):
    spans = []
    for _ in range(200):
        span = provided.start()
        toucher = threading.Thread(target=lambda span=span: span.attributes)
        toucher.start()
        close(span, 2**62, lambda span: span.set_attribute("said", 1))
        toucher.join()
        spans.append(span)

    ends = {(span.end_time, span.attributes.get("said")) for span in spans}
    assert ends == {(2**62, 1)}
    assert len(provided.exported) == 200


def test_it_may_be_touched_in_a_child_forked_during_a_touch(provided: Provided):
    span = provided.start(a=1)
    touched = threading.Event()
    go_on = threading.Event()

    def describe() -> tuple[str, dict[str, int]]:
        touched.set()
        go_on.wait(10)
        return "slow", {}

    slow, _ = provided.resolved.spans.start(describe, (), SpanKind.PRODUCER, None, None)
    toucher = threading.Thread(target=lambda: slow.attributes)
    toucher.start()
    touched.wait(10)

    said = said_in_child(lambda: dict(span.attributes))
    go_on.set()
    toucher.join()

    assert said == {"a": 1}


def test_a_signal_handler_may_touch_the_span_whose_touch_it_interrupts(
    provided: Provided,
):
    entered: list[object] = []

    def describe() -> tuple[str, dict[str, int]]:
        if not entered:
            entered.append(1)
            # As a handler does, right here.
            span.set_attribute("by the handler", 1)
        return "light", {}

    span, _ = provided.resolved.spans.start(describe, (), SpanKind.PRODUCER, None, None)

    span.set_attribute("by the task", 2)

    assert dict(span.attributes) == {"by the handler": 1, "by the task": 2}


def test_the_sdks_provider_with_batches_has_light_spans(provided: Provided):
    assert (provided.resolved.spans.way, is_light(provided.start())) == (LIGHT, True)


class Nosy(SpanProcessor):
    """Sees spans at their start, as baggage's and Pyroscope's do."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        span.set_attribute("nosy", 1)
        self.seen.append(span)


class Nosier(BatchSpanProcessor):
    """A subclass may do anything."""


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Nosy, "Nosy may look at spans while they are open"),
        (
            lambda: SimpleSpanProcessor(InMemorySpanExporter()),
            "SimpleSpanProcessor may look at spans while they are open",
        ),
        (
            lambda: Nosier(InMemorySpanExporter()),
            "Nosier may look at spans while they are open",
        ),
    ],
    ids=["on_start", "simple", "subclass"],
)
def test_a_processor_that_is_added_acts_on_the_next_span(
    make: Any, why: str, provided: Provided
):
    first = provided.start()
    processor = make()
    provided.provider.add_span_processor(processor)
    second = provided.start()

    assert (is_light(first), is_light(second)) == (True, False)
    assert provided.resolved.spans.way.endswith(why)
    close(second, 2**62)
    close(first, 2**62)
    assert len(provided.exported) == 2


def test_a_processor_added_while_a_span_is_open_sees_its_end(provided: Provided):
    ended = []

    class Watching(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append((type(span), dict(span.attributes or {})))

    span = provided.start(a=1)
    provided.provider.add_span_processor(Watching())
    close(span, 2**62, lambda span: span.set_attribute("b", 2))

    assert ended == [(ReadableSpan, {"a": 1, "b": 2})]
    assert len(provided.exported) == 1


@pytest.mark.parametrize("hook", ["on_start", "on_end", "_on_ending"])
def test_a_hook_that_is_put_on_a_processor_acts(
    hook: str, provided: Provided, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(light, "LOOK_AFTER", 0)
    called = []
    before = is_light(provided.start())
    known = getattr(provided.processor, hook, None)
    if known is None:
        pytest.skip("this SDK has no such hook")
    with monkeypatch.context() as patch:
        patch.setattr(
            provided.processor,
            hook,
            lambda *args, **more: [called.append(hook), known(*args, **more)],
        )
        span = provided.start()
        close(span, 2**62)
    after = is_light(provided.start())

    assert (before, is_light(span), after, called) == (True, False, True, [hook])


METHODS: list[tuple[type, str]] = [
    *((sdk.Span, name) for name in ("__new__", "__init__", "start", "end")),
    *((sdk._Span, name) for name in ("_readable_span", "set_attribute", "add_event")),
    *((ReadableSpan, "to_json"), (trace.Span, "__enter__")),
    (sdk.Tracer, "start_span"),
    *((RandomIdGenerator, "generate_span_id"), (BatchSpanProcessor, "on_start")),
    *((BatchSpanProcessor, "on_end"), (SynchronousMultiSpanProcessor, "on_start")),
]


def replacement(kind: Any, name: str) -> Any:
    known = getattr(kind, name)
    return lambda *args, **more: known(*args, **more)


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_an_sdk_of_which_a_method_is_replaced_makes_its_own(
    kind: type, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kind, name, replacement(kind, name))
    provided = Provided()

    assert not is_light(provided.start())
    assert f"{name} of opentelemetry." in provided.resolved.spans.way
    assert provided.resolved.spans.way.endswith(" is replaced")
    provided.provider.shutdown()


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_a_method_that_is_replaced_or_put_back_is_noticed(
    kind: type, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(light, "LOOK_AFTER", 0)
    provided = Provided()
    before = is_light(provided.start())
    with monkeypatch.context() as patch:
        patch.setattr(kind, name, replacement(kind, name))
        between = is_light(provided.start())

    assert (before, between, is_light(provided.start())) == (True, False, True)
    provided.provider.shutdown()


def test_a_method_that_was_replaced_before_and_is_put_back_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(light, "LOOK_AFTER", 0)
    # As if no light span had ever been made.
    for name, value in [*vars(LightSpan).items()]:
        if isinstance(value, light._Missing) and name != "__dict__":
            monkeypatch.delattr(LightSpan, name)
    with monkeypatch.context() as patch:
        patch.setattr(sdk.Span, "end", replacement(sdk.Span, "end"))
        provided = Provided()
        before = is_light(provided.start())

    span = provided.start(a=1)

    assert (before, is_light(span), dict(span.attributes)) == (False, True, {"a": 1})
    provided.provider.shutdown()


def test_that_takes_a_second_at_most_by_a_clock_that_may_be_set_back(
    provided: Provided, monkeypatch: pytest.MonkeyPatch
):
    began = time.time_ns()
    now = 0.0
    monkeypatch.setattr(light, "time_ns", lambda: began + int(now * 1e9))
    provided.start()
    found = {}
    for now in (0.5, 1.0, 1.9, 2.0, -3_600.0):
        with monkeypatch.context() as patch:
            if now != 1.0:
                patch.setattr(sdk.Span, "end", replacement(sdk.Span, "end"))
            found[now] = is_light(provided.start())

    assert found == {0.5: True, 1.0: True, 1.9: True, 2.0: False, -3_600.0: False}


def test_a_wrapper_that_equals_the_method_is_noticed(monkeypatch: pytest.MonkeyPatch):
    class Wrapper:
        """As wrapt's."""

        def __eq__(self, other: object) -> bool:
            return True

        def __get__(self, *_: object) -> Any:
            return self

        __hash__ = None
        __call__ = sdk.Span.end

    monkeypatch.setattr(light, "LOOK_AFTER", 0)
    provided = Provided()
    before = is_light(provided.start())
    monkeypatch.setattr(sdk.Span, "end", Wrapper())

    assert (before, is_light(provided.start())) == (True, False)
    monkeypatch.undo()
    provided.provider.shutdown()


@pytest.mark.parametrize(
    "sampler",
    [ALWAYS_ON, ParentBased(ALWAYS_ON), LinksBased(ParentBased(ALWAYS_ON))],
    ids=["static", "by the parent", "by links"],
)
@pytest.mark.parametrize("whose", ["its own", "its class'"])
def test_a_sampler_whose_method_is_replaced_is_asked(
    whose: str, sampler: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(light, "LOOK_AFTER", 0)
    thing: Any = ALWAYS_ON if whose == "its own" else type(ALWAYS_ON)
    provided = Provided(sampler=sampler)
    asked = []
    before = provided.start(a=1)
    known = thing.should_sample
    with monkeypatch.context() as patch:
        patch.setattr(
            thing,
            "should_sample",
            lambda *args, **more: asked.append(1) or known(*args, **more),
        )
        span = provided.start(a=1)
        also = Provided(sampler=sampler)
        also.start()
    after = provided.start(a=1)

    spans = before, span, after
    assert (asked, *map(is_light, spans)) == ([1, 1], True, True, True)
    assert span.attributes == {"a": 1}
    provided.provider.shutdown()
    also.provider.shutdown()


def test_a_tracer_whose_method_is_replaced_makes_its_own(
    provided: Provided, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(light, "LOOK_AFTER", 0)
    tracer: Any = provided.resolved.tracer
    known = tracer.start_span
    called = []
    tracer.start_span = lambda *args, **more: called.append(1) or known(*args, **more)
    span = provided.start()
    del tracer.start_span

    assert (called, is_light(span), is_light(provided.start())) == ([1], False, True)


class Derived(TracerProvider):
    """A vendor's."""


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Derived(shutdown_on_exit=False), "Derived is not the SDK's own"),
        (
            lambda: TracerProvider(
                shutdown_on_exit=False,
                active_span_processor=ConcurrentMultiSpanProcessor(1),
            ),
            "ConcurrentMultiSpanProcessor is not the SDK's SynchronousMultiSpan"
            "Processor",
        ),
        (trace.ProxyTracerProvider, "no tracer provider was set yet"),
        (trace.NoOpTracerProvider, "NoOpTracerProvider is not the SDK's own"),
    ],
    ids=["subclass", "concurrent", "none yet", "none"],
)
def test_other_providers_make_their_own_spans(make: Any, why: str):
    resolved = ResolvedProvider(make(), "to a test")

    span, _ = resolved.spans.start(lambda: ("n", {}), (), SpanKind.PRODUCER, None, None)

    assert not is_light(span)
    assert resolved.spans.way.startswith(SDK)
    assert resolved.spans.way.endswith(why)


def test_spans_that_the_sdk_counts_are_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")
    made = Provided()
    if not hasattr(made.resolved.tracer, "_tracer_metrics"):
        pytest.skip("this SDK counts no spans")

    assert not is_light(made.start())
    assert "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED" in made.resolved.spans.way
    made.provider.shutdown()


def test_an_sdk_whose_spans_have_no_lock_makes_its_own(monkeypatch: Any):
    monkeypatch.setattr(light, "_REAL", "_renamed")
    resolved = ResolvedProvider(TracerProvider(shutdown_on_exit=False), "to a test")

    assert resolved.spans.way == SDK + "AttributeError: a span has no _renamed"


def test_an_sdk_that_names_its_processors_differently_makes_its_own():
    provider = TracerProvider(shutdown_on_exit=False)
    multi: Any = provider._active_span_processor
    multi.__dict__["_renamed"] = multi.__dict__.pop("_span_processors")
    resolved = ResolvedProvider(provider, "to a test")

    assert resolved.spans.way.startswith(SDK + "AttributeError: ")


def test_a_child_has_light_spans_of_its_own_resource(provided: Provided):
    def in_child() -> object:
        span = provided.start(pid=os.getpid())
        lightly = is_light(span)
        close(span, 2**62)
        (exported,) = provided.exported
        return lightly, exported.attributes["pid"] == os.getpid()

    assert said_in_child(in_child) == [True, True]
