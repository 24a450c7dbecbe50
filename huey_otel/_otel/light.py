"""Light spans: spans that become the SDK's own when anything asks what they say.

Most spans are made, are current for a while and are exported, and no code reads
them on the task's thread. Until some code does, such a span is its ids, its times, and
the values that its name and attributes are made of.

Names of the SDK's that begin with an underscore are those of opentelemetry-sdk 1.30 to
1.45. Where one is missing, no light span is made: see `LightTracer`.
"""

# ruff: noqa: SLF001 - what start_span does can be done in no other way
import os
import random
import threading
from collections.abc import Callable, Sequence
from operator import attrgetter
from time import time_ns
from typing import Any, Final, NamedTuple, SupportsIndex, cast

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    Tracer,
    TracerProvider,
    _Span,
)
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import DEFAULT_ON, Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
)

from huey_otel._otel.current import SPANS
from huey_otel._otel.known_samplers import (
    LOW_BITS,
    ROOT,
    SITUATIONS,
    bound_of,
    situation_of,
)
from huey_otel._otel.own_methods import Method, Methods, is_own, methods_of
from huey_otel._otel.spans import (
    IS_VALID,
    Describe,
    Say,
    SpanStarter,
    Started,
    new_ids,
    with_parent,
)
from huey_otel._safety.forks import in_child
from huey_otel._wire.span import SpanStart, unpacked, unpacked_links

PLAIN: Final[set[type]] = {BatchSpanProcessor}
"""The processors that do nothing with a span before it has ended."""

_HOOKS: Final = ("on_start", "_on_ending", "on_end")
_METHODS: Final[list[Method]] = [
    *methods_of(_Span),
    (Tracer, "start_span"),
    *((RandomIdGenerator, name) for name in ("generate_trace_id", "generate_span_id")),
    *((SynchronousMultiSpanProcessor, name) for name in _HOOKS),
]
LOOK_AFTER = 1_000_000_000
"""Nanoseconds until a method that is replaced is noticed at the latest."""

_FLAGS: Final = tuple(map(TraceFlags, range(4)))
_SAMPLED, _RANDOM = 1, 2
_new: Final = object.__new__
_state_of: Final[Callable[[Span], dict[str, Any]]] = vars(Span)["__dict__"].__get__
_nothing: Final = SpanProcessor()
_NO_PROCESSORS: Final = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
"""Has the spans that cross the pipe, and no processor."""


class _Taking:
    """The lock under which a light span becomes the SDK's, or ends.

    Reentrant: a signal handler may touch the span that it has interrupted.
    """

    def __init__(self) -> None:
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()


_TAKING: Final = _Taking()


class _Missing:
    """An attribute that light spans lack; its use makes one the SDK's own.

    `__getattr__` and `__setattr__` would do, but with these CPython takes longer for
    each attribute, also for those that are there.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, span: Any, kind: type) -> Any:
        if span is None:
            return self
        become_real(span)
        return getattr(span, self._name)

    def __set__(self, span: Any, value: Any) -> None:
        become_real(span)
        setattr(span, self._name, value)


class Told(NamedTuple):
    """What a span says that has attributes and nothing else. Times are nanoseconds."""

    name: str
    attributes: dict[str, Any]
    ids: SpanContext
    parent: SpanContext | None
    kind: SpanKind
    began: int
    ended: int
    resource: Resource
    scope: InstrumentationScope


class _Saying:
    """Takes what is said of a span at its end."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes
        self.only_attributes = True

    def set_attribute(self, key: str, value: Any) -> None:
        # The SDK puts an attribute that is set again last.
        self.attributes.pop(key, None)
        self.attributes[key] = value

    def set_status(self, *_: object) -> None:
        self.only_attributes = False

    def add_event(self, *_: object) -> None:
        self.only_attributes = False


class LightSpan(_Span):
    """A span of the SDK's without most of its attributes, until one of them is read.

    All methods that change a span read one first: a `_Missing` of this class, see
    `_probe`. `_huey_otel` has what the missing ones are made of, `_huey_otel_end`
    what the span says at its end.
    """

    _huey_otel: tuple[Any, ...]
    _huey_otel_end: tuple[Say, Any] | None = None
    _huey_otel_bytes: Any = None
    """What our encoder keeps of it."""
    context = property(attrgetter("_context"))
    __dict__ = _Missing("__dict__")

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        become_real(self)
        return self.__reduce_ex__(protocol)

    def told(self) -> "Told | None":
        """All that the span says, once it has ended, without making it the SDK's own.

        None where only the SDK's own span has it: links, an event, a status, a limit.
        """
        state = _state_of(self)
        # Read first: another thread may touch the span now, and `become_real` removes
        # it after what the span is made of.
        ending = state.get("_huey_otel_end")
        made_of = state.get("_huey_otel")
        if made_of is None:
            # It has become the SDK's own meanwhile.
            return None
        tracer, resource, describe, values, parent, kind, links, began, given, _, _ = (
            made_of
        )
        if links:
            return None
        name, attributes = describe(*values)
        saying = _Saying(attributes if given is None else dict(given))
        if ending is not None:
            say, said = ending
            say(saying, *said)
        limits = tracer._span_limits
        most = limits.max_span_attributes
        if (
            not saying.only_attributes
            or limits.max_span_attribute_length is not None
            or (most is not None and len(saying.attributes) > most)
        ):
            return None
        return Told(
            name,
            saying.attributes,
            state["_context"],
            parent,
            kind,
            began,
            state["_end_time"],
            resource,
            tracer._instrumentation_scope,
        )

    def hold_back(self) -> dict[str, Any] | None:
        """Give no processor the span at its end, only right after its start.

        Returns the attributes that a sampler has made.
        """
        *known, given, _, _ = self._huey_otel
        none = _NO_PROCESSORS
        self._huey_otel = (*known, given, none, none._span_processors)
        return cast("dict[str, Any] | None", given)

    def close_lightly(self, at: int | None, say: Say | None, said: Any) -> bool:
        """Keep what the span says at its end, and end it *at* that time, if given.

        False if it is the SDK's own by now, and nothing was done.
        """
        with _TAKING.lock:
            if type(self) is not LightSpan:
                return False
            if self._end_time is not None:
                return True
            multi, processors = self._huey_otel[-2:]
            ends_lightly = at is None or multi._span_processors is processors
            if ends_lightly:
                if say is not None:
                    self._huey_otel_end = say, said
                if at is None:
                    return True
                self._end_time = at
        if not ends_lightly:
            # A processor was added meanwhile, which may do anything at the end.
            become_real(self)
            return False
        for processor in processors:
            processor.on_end(self)
        return True


# Spans show it, and `type(span).__name__` may be asked for.
LightSpan.__name__ = LightSpan.__qualname__ = _Span.__name__
LightSpan.__module__ = _Span.__module__
SPANS.update((LightSpan, _Span))


def is_untouched(span: Span) -> bool:
    """Whether *span* is light, also after its end."""
    return type(span) is LightSpan


_REAL: Final = "_lock"
"""What a span has as soon as it is the SDK's own."""


def become_real(span: LightSpan) -> None:
    """Make the SDK's own span beside *span*, and take over all that it has."""
    state = _state_of(span)
    with _TAKING.lock:
        if _REAL not in state:
            made = _made(state)
            # A signal handler may have touched the span meanwhile.
            if _REAL not in state:
                # In one step: other threads may use the span at any time.
                state.update(made)
        span.__class__ = _Span  # type: ignore[assignment]
        # In this order, see `told`.
        state.pop("_huey_otel", None)
        state.pop("_huey_otel_end", None)
        state.pop("_huey_otel_bytes", None)


def _made(state: dict[str, Any]) -> dict[str, Any]:
    """All attributes of the SDK's own span that began and ended as in *state*."""
    tracer, resource, describe, values, parent, kind, links, began, given, multi, _ = (
        state["_huey_otel"]
    )
    name, attributes = describe(*values)
    real = _Span(
        name=name,
        context=state["_context"],
        parent=parent,
        sampler=tracer.sampler,
        resource=resource,
        attributes=attributes if given is None else given,
        span_processor=_nothing,
        kind=kind,
        links=links,
        instrumentation_info=tracer.instrumentation_info,
        limits=tracer._span_limits,
        instrumentation_scope=tracer._instrumentation_scope,
    )
    real.start(began)
    ending = state.get("_huey_otel_end")
    if ending is not None:
        say, said = ending
        say(real, *said)
    if state["_end_time"] is not None:
        real.end(state["_end_time"])
    real._span_processor = multi
    return vars(real)


class LightTracer(SpanStarter):
    """Starts light spans with *tracer*, where nothing can tell them from the SDK's.

    Raises what a missing name of the SDK's raises.
    """

    def __init__(self, provider: object, tracer: Tracer) -> None:
        self._sdk = tracer
        self._provider = provider
        self._configurable = hasattr(tracer, "_tracer_config")
        self._says_if_random = hasattr(IdGenerator, "is_trace_id_random")
        self._made_in = os.getpid()
        self._inherited: object = None
        self._looked = self._due = 0
        in_child(self._inherit)
        self._probed = False
        self._look()
        super().__init__(tracer, self.why_not)

    def _inherit(self) -> None:
        """Note what processors there were at the first fork, if that are still they."""
        now = getattr(self._sdk.span_processor, "_span_processors", None)
        known = self._inherited
        self._inherited = now if known is None or known is now else self

    def lets_cross(self, span: Span, reader: int) -> bool:
        """Whether the process *reader* may give *span* to the same processors."""
        return (
            type(span) is LightSpan
            and self._made_in == reader
            and self._inherited is self._processors
        )

    def _look(self) -> None:
        """Look again whether light spans may be made."""
        tracer = self._sdk
        multi: Any = tracer.span_processor
        exact = type(multi) is SynchronousMultiSpanProcessor
        processors: tuple[SpanProcessor, ...] = multi._span_processors if exact else ()
        self._processors = processors
        self._sampler, self._generator = tracer.sampler, tracer.id_generator
        generator = self._generator
        self._own_ids = type(generator) is RandomIdGenerator and not vars(generator)
        self._random = _RANDOM if self._says_if_random else 0
        asked: list[object] = [self._generator]
        self._bounds = [bound_of(self._sampler, one, asked) for one in SITUATIONS]
        watched = {
            id(one): vars(one)
            for one in (tracer, multi, *processors, *asked)
            if hasattr(one, "__dict__")
        }
        self._watched = [*watched.values()]
        self._size = sum(map(len, self._watched))
        kinds = {type(one) for one in processors}
        methods = [*_METHODS, *((kind, name) for kind in kinds for name in _HOOKS)]
        sampling = [(type(one), "should_sample") for one in asked]
        self._methods = Methods([*methods, *sampling])
        self.why_not = self._reason(multi, methods)

    def _is_replaced(self, now: int) -> bool:
        """Whether a method is another one than at the last look."""
        self._looked, self._due = now - LOOK_AFTER, now + LOOK_AFTER
        of_objects = sum(map(len, self._watched)) != self._size
        return of_objects or self._methods.have_changed

    def _reason(self, multi: object, methods: list[Method]) -> str | None:
        expected: list[tuple[object, type]] = [
            (self._provider, TracerProvider),
            (self._sdk, Tracer),
            (multi, SynchronousMultiSpanProcessor),
        ]
        for thing, kind in expected:
            if type(thing) is not kind:
                return f"{_named(thing)} is not the SDK's {kind.__name__}"
        for one in self._processors:
            if type(one) not in PLAIN:
                return f"{_named(one)} may look at spans while they are open"
        for thing in (self._sdk, multi, *self._processors):
            if not vars(thing).keys().isdisjoint(("start_span", *_HOOKS)):
                return f"a method of a {_named(thing)} is replaced"
        replaced = [one for one in methods if not is_own(*one)]
        if replaced:
            kind, name = replaced[0]
            return f"{name} of {kind.__module__}.{kind.__qualname__} is replaced"
        counts = getattr(self._sdk, "_tracer_metrics", None)
        if type(counts).__name__ not in ("NoneType", "NoOpTracerMetrics"):
            return "the SDK counts its spans: OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"
        if not self._probed:
            _probe(self._sdk)
            self._probed = True
        return None

    def start(
        self,
        describe: Describe,
        values: tuple[Any, ...],
        kind: SpanKind,
        parent: SpanContext | None,
        context: Context | None,
        links: Sequence[Link] = (),
        began: int | None = None,
    ) -> Started:
        """Start a span as `SpanStarter.start` does, lightly if that may be."""
        tracer: Any = self._sdk
        multi = tracer.span_processor
        at = time_ns() if began is None else began
        if (
            getattr(multi, "_span_processors", ()) is not self._processors
            or tracer.sampler is not self._sampler
            or tracer.id_generator is not self._generator
            or (not self._looked <= at < self._due and self._is_replaced(at))
        ):
            # A processor was added, or a method is replaced.
            self._look()
        if self.why_not is not None or (
            self._configurable and not tracer._tracer_config.is_enabled
        ):
            return super().start(describe, values, kind, parent, context, links, began)
        generator, own, flags, state = self._generator, self._own_ids, 0, None
        if parent is not None and parent[IS_VALID]:
            trace_id, _, is_remote, above, state, _ = parent
            bound = self._bounds[is_remote * 2 + (above & _SAMPLED)]
            if self._says_if_random:
                flags = above & _RANDOM
        else:
            # As RandomIdGenerator makes it, without a call of Python's.
            parent, trace_id = None, random.getrandbits(128) if own else 0
            trace_id = trace_id or generator.generate_trace_id()
            bound = self._bounds[situation_of(links) if links else ROOT]
        given = None
        if bound is None:
            name, attributes = describe(*values)
            context = with_parent(parent, context)
            result = tracer.sampler.should_sample(
                context, trace_id, name, kind, attributes, links
            )
            decision, state = result.decision, result.trace_state
            is_sampled = decision is Decision.RECORD_AND_SAMPLE
            is_recorded = decision is not Decision.DROP
            given = dict(result.attributes or ())
            if began is None:
                # The sampler may have been slow.
                at = time_ns()
        else:
            is_sampled = is_recorded = trace_id & LOW_BITS < bound
        if parent is None and self._random and (own or generator.is_trace_id_random()):
            flags = _RANDOM
        flags = _FLAGS[flags | is_sampled]
        span_id = random.getrandbits(64) if own else 0
        span_id = span_id or generator.generate_span_id()
        if own:
            state = DEFAULT_TRACE_STATE if state is None else state
            ids = new_ids((trace_id, span_id, False, flags, state, True))
        else:
            ids = SpanContext(trace_id, span_id, False, flags, state)  # noqa: FBT003
        if not is_recorded:
            unrecorded = _new(NonRecordingSpan)
            unrecorded._context = ids
            return unrecorded, ids
        span = _new(LightSpan)
        span._context = ids
        span._end_time = None
        span._huey_otel = (
            tracer,
            tracer.resource,
            describe,
            values,
            parent,
            kind,
            links,
            at,
            given,
            multi,
            self._processors,
        )
        return span, ids

    def again(
        self, start: SpanStart, describe: Describe, facts: Any, resource: Any
    ) -> LightSpan:
        """The span that has begun with *start* in a worker, which has *resource*."""
        tracer: Any = self._sdk
        multi = tracer.span_processor
        span = _new(LightSpan)
        span._context = unpacked(start.ids)
        span._end_time = None
        span._huey_otel = (
            *(tracer, resource or tracer.resource, describe, (facts, *start.values)),
            None if start.parent is None else unpacked(start.parent),
            *(SpanKind.CONSUMER, unpacked_links(start.links), start.began),
            *(start.given, multi, multi._span_processors),
        )
        return span

    def deliver(self, span: Any) -> None:
        """Give *span*, which has ended, to the processors after all."""
        if type(span) is _Span:
            span = span._readable_span()
        self._sdk.span_processor.on_end(span)

    @property
    def resource(self) -> Resource:
        """What spans that start now have."""
        return self._sdk.resource


def _probe(tracer: Tracer) -> None:
    """Raise if the SDK lacks a name that is used here."""
    ids = tuple(SpanContext(1, 2, is_remote=True))
    if ids[:4] != (1, 2, True, 0) or ids[5] is not True:
        raise AttributeError("ids have other parts")
    made = _made(
        {
            "_context": INVALID_SPAN_CONTEXT,
            "_end_time": None,
            "_huey_otel": (
                *(tracer, tracer.resource, lambda: ("", {}), (), None),
                *(SpanKind.INTERNAL, (), 1, None, None, ()),
            ),
        }
    )
    light = {"_context", "_end_time"}
    for name in (*light, _REAL):
        if name not in made:
            raise AttributeError(f"a span has no {name}")
    if vars(NonRecordingSpan(INVALID_SPAN_CONTEXT)) != {
        "_context": INVALID_SPAN_CONTEXT
    }:
        raise AttributeError("a span that does not record has other parts")
    for name in made.keys() - vars(LightSpan).keys() - light:
        setattr(LightSpan, name, _Missing(name))
    for situation in range(4):
        bound_of(DEFAULT_ON, situation, [])


def _named(thing: object) -> str:
    kind = type(thing)
    return f"{kind.__module__}.{kind.__qualname__}"
