"""Propagation: a message's headers, and the parent and links they give an attempt."""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from huey.api import Task
from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    DEFAULT_TRACE_STATE,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from huey_otel import _names as n
from huey_otel._options.settings import Settings
from huey_otel._otel.current import current, span_in, with_span
from huey_otel._otel.propagators import global_textmap, propagate
from huey_otel._otel.spans import ROOT, new_ids
from huey_otel._safety import encodable
from huey_otel._safety.failures import class_name
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import or_else
from huey_otel._tasks.attempt import Attempt
from huey_otel._wire import traceparent
from huey_otel._wire.carrier import Carrier
from huey_otel._wire.traceparent import Ids

T = TypeVar("T")

_MOST_HOPS: Final = 100
_BAGGAGE: Final = "baggage"
_LARGEST_BAGGAGE: Final = 4_096
_LARGEST_HEADERS: Final = 6_144
"""Characters of all headers; the carrier has more to hold."""

_NO_HEADERS: Final[dict[str, str]] = {}

_MOST_MEMBERS: Final = 32
"""Members that a chord's callback is linked to: the SDK keeps 128 links of a span."""

_DEFAULT: Final = [TraceContextTextMapPropagator, W3CBaggagePropagator]
_FLAGS: Final = tuple(map(TraceFlags, range(256)))

Propagated = tuple[Ids | None, Mapping[str, str]]
"""The fields `parent` and `headers` of a carrier."""


class Propagation:
    """Joins attempts to the spans that enqueued them, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._propagation = settings.propagation
        self._link_after = settings.link_after

    def prepare(self) -> None:
        """Use the global propagator once: its first use is slow."""
        or_else(lambda: propagate.extract({}, ROOT), lambda _: ROOT)

    def parent(
        self, attempt: Attempt
    ) -> tuple[Context, SpanContext | None, Sequence[Link]]:
        """The context that *attempt*'s span starts in, its parent, and its links.

        If the context is ROOT, the parent is not in it yet.
        """
        carrier = attempt.carrier
        links: list[Link] = []
        if carrier is not None and (carrier.previous or carrier.members):
            links = _links_of(carrier)
        if attempt.nested:
            # In immediate mode the enqueue is current, and the run is inside it.
            context = current()
            return context, _valid(span_in(context)), links
        if carrier is None or not (carrier.parent or carrier.headers):
            return ROOT, None, links
        how = self._propagation
        at_once = carrier.eta is None and carrier.hops <= _MOST_HOPS
        if how == n.PROPAGATE_AUTO and at_once:
            how = n.PROPAGATE_CHILD
        elif how != n.PROPAGATE_CHILD:
            how = self._how(attempt.task, carrier)
        if how == n.PROPAGATE_NONE:
            return ROOT, None, links
        origin, context = _alone(carrier), ROOT
        if origin is None:
            context, origin = _extracted(carrier)
        if how == n.PROPAGATE_CHILD:
            return context, origin, links
        if origin is not None and all(
            origin.span_id != link.context.span_id for link in links
        ):
            links.insert(0, Link(origin))
        return ROOT, None, links

    @guarded
    def of_chord(self, member: Attempt) -> Context | None:
        """The context that the chord of *member* was enqueued in.

        None if the attempt itself is in that trace, or should not be.
        """
        carrier = member.carrier
        if carrier is None or member.nested:
            return None
        if carrier.hops > _MOST_HOPS or self._wanted(member.task) == n.PROPAGATE_NONE:
            return None
        origin = _read(carrier.headers.get(n.ORIGIN_HEADER, ""))
        if origin is None:
            enqueued, origin = _extracted(carrier)
        else:
            enqueued = _within(origin)
        here = span_in(current()).get_span_context()
        if origin is None or origin.trace_id == here.trace_id:
            return None
        return enqueued

    def of_retry(self, attempt: Attempt, following: Carrier) -> Carrier:
        """*following*, the carrier of the attempt after *attempt*, with its headers.

        They change only if *attempt* began a trace in which the next one stays.
        """
        span = attempt.span
        if span is None or not span.get_span_context().is_valid:
            return following
        before, origin = _extracted(following)
        if origin is None:
            parent, headers = propagated(with_span(span, before))
            return following._replace(parent=parent, headers=headers)
        if (
            origin.trace_id == span.get_span_context().trace_id
            or self._how(attempt.task, following) != n.PROPAGATE_CHILD
        ):
            return following
        parent, headers = propagated(with_span(span, ROOT))
        began = following._replace(parent=parent, headers=headers)
        known = following.headers.get(n.ORIGIN_HEADER)
        return came_from(known or _written(origin), began)

    def _how(self, task: Task, carrier: Carrier) -> str:
        how = self._propagation
        if how != n.PROPAGATE_AUTO:
            how = self._wanted(task)
            if how != n.PROPAGATE_AUTO:
                return how
        put_off = 0.0 if carrier.eta is None else carrier.eta - carrier.enqueued
        if carrier.hops > _MOST_HOPS or put_off > self._link_after:
            return n.PROPAGATE_LINK
        return n.PROPAGATE_CHILD

    def _wanted(self, task: Task) -> str:
        how = self._propagation
        return how if isinstance(how, str) else self._called(task) or n.PROPAGATE_AUTO

    @guarded
    def _called(self, task: Task) -> str:
        """What the user's function returns for *task*; it may raise."""
        assert callable(self._propagation)  # noqa: S101 - for the type checker
        how = self._propagation(task)
        if how not in n.PROPAGATIONS:
            raise ValueError(
                f"propagation= returned {how!r} for {task.name}:"
                f" expected one of {', '.join(n.PROPAGATIONS)}"
            )
        return how


def came_from(origin: str, carrier: Carrier) -> Carrier:
    """*carrier* with the traceparent *origin* of another trace that it belongs to."""
    headers = {**carrier.texts, n.ORIGIN_HEADER: origin}
    return carrier._replace(parent=None, headers=headers)


def _alone(carrier: Carrier) -> SpanContext | None:
    """The ids in *carrier*, if the global propagator would find nothing but them."""
    ids = carrier.parent
    if ids is None or not (global_textmap() is _Known.default or _is_default()):
        return None
    trace_id, span_id, flags = ids
    return new_ids((trace_id, span_id, True, _FLAGS[flags], DEFAULT_TRACE_STATE, True))


def _extracted(carrier: Carrier) -> tuple[Context, SpanContext | None]:
    """What the global propagator reads in *carrier*, and the span in there, if any."""
    ids = _alone(carrier)
    if ids is not None:
        return _within(ids), ids
    context, headers = ROOT, carrier.texts
    if headers:
        context = or_else(
            lambda: propagate.extract(headers, ROOT), lambda error: _lost(error, ROOT)
        )
    return context, _valid(span_in(context))


def _valid(span: Span) -> SpanContext | None:
    ids = span.get_span_context()
    return ids if ids.is_valid else None


def _within(ids: SpanContext) -> Context:
    return with_span(NonRecordingSpan(ids), ROOT)


def propagated(context: Context, ids: SpanContext | None = None) -> Propagated:
    """What the global propagator writes of *context*, within the limits above.

    *ids* are those of the span in it, if they are known.
    """
    if global_textmap() is _Known.default or _is_default():
        if ids is None:
            ids = span_in(context).get_span_context()
        # One value in a context that has a span is that span.
        alone = len(context) == 1 or not baggage.get_all(context)
        trace_id, span_id, _, flags, state, is_valid = ids
        if alone and is_valid and (state is DEFAULT_TRACE_STATE or not state):
            return (trace_id, span_id, flags), _NO_HEADERS
    headers = or_else(
        lambda: _injected(_with_encodable_baggage(context)),
        lambda error: _lost(error, dict[str, str]()),
    )
    size = 0
    for name, value in [*headers.items()]:
        if type(value) is not str or (
            name == _BAGGAGE and len(value) > _LARGEST_BAGGAGE
        ):
            del headers[name]
        else:
            size += len(name) + len(value)
    while size > _LARGEST_HEADERS:
        longest = max(headers, key=lambda name: len(headers[name]))
        size -= len(longest) + len(headers.pop(longest))
    return None, headers


def _injected(context: Context) -> dict[str, str]:
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    return headers


def _with_encodable_baggage(context: Context) -> Context:
    """*context* with the baggage that can be written, and no other."""
    for name, value in baggage.get_all(context).items():
        text = _text(value)
        if text is None or name != encodable.text(name):
            context = baggage.remove_baggage(name, context)
        elif text != value:
            context = baggage.set_baggage(name, text, context)
    return context


def _text(value: object) -> str | None:
    return or_else(lambda: encodable.text(f"{value}"), lambda _: None)


def _lost(error: Exception, nothing: T) -> T:
    """A propagator has raised *error*: count that; the trace ends here."""
    why = f"a message's headers cannot be read or written: {class_name(error)}"
    LOSSES.count(n.LOSS_CARRIER, why=why)
    return nothing


def _read(text: str) -> SpanContext | None:
    """The ids of another process that *text* has, None if it is no traceparent."""
    ids = traceparent.read(text)
    if ids is None:
        return None
    trace_id, span_id, flags = ids
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


class _Known:
    """The global propagator, where it is known to be the default one."""

    default: TextMapPropagator | None = None


def _is_default() -> bool:
    """Whether the global propagator is the default: trace context, then baggage.

    A traceparent alone we read and write ourselves, in a third of its time.
    """
    textmap = global_textmap()
    parts = getattr(textmap, "_propagators", ())
    if type(textmap) is not CompositePropagator or [*map(type, parts)] != _DEFAULT:
        return False
    _Known.default = textmap
    return True


def named(span: Span | None) -> str | None:
    """The traceparent of *span*, for a link to it; None if it has no id."""
    ids = trace.INVALID_SPAN_CONTEXT if span is None else span.get_span_context()
    return _written(ids) if ids.is_valid else None


def _written(ids: SpanContext) -> str:
    return traceparent.written(ids.trace_id, ids.span_id, ids.trace_flags)


def some(members: list[str]) -> tuple[str, ...]:
    """At most _MOST_MEMBERS of *members*, from both ends."""
    if len(members) <= _MOST_MEMBERS:
        return tuple(members)
    half = _MOST_MEMBERS // 2
    return (*members[:half], *members[-half:])


def _links_of(carrier: Carrier) -> list[Link]:
    """Links to the attempt before, and to the members of a callback's chord."""
    links = [] if carrier.previous is None else _link(carrier.previous, n.LINK_RETRY)
    for member in carrier.members:
        links += _link(member, n.LINK_MEMBER)
    return links


def _link(text: str, kind: str) -> list[Link]:
    ids = _read(text)
    return [] if ids is None else [Link(ids, {n.LINK_KIND: kind})]
