"""Propagation: a message's headers, and the parent and links they give an attempt."""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from huey.api import Task
from opentelemetry import baggage, trace
from opentelemetry import context as contexts
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from huey_otel import _names as n
from huey_otel._options.settings import Settings
from huey_otel._otel.propagators import propagate
from huey_otel._safety import encodable
from huey_otel._safety.failures import class_name
from huey_otel._safety.guard import guarded
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.timeout import or_else
from huey_otel._tasks.attempt import Attempt
from huey_otel._wire.carrier import Carrier

T = TypeVar("T")

_MOST_HOPS: Final = 100
_ROOT: Final = Context()
_BAGGAGE: Final = "baggage"
_LARGEST_BAGGAGE: Final = 4_096
_LARGEST_HEADERS: Final = 6_144
"""Characters of all headers; the carrier has more to hold."""


_TRACEPARENT: Final = "traceparent"

_MOST_MEMBERS: Final = 32
"""Members that a chord's callback is linked to: the SDK keeps 128 links of a span."""

_DEFAULT: Final = [TraceContextTextMapPropagator, W3CBaggagePropagator]
_FLAGS: Final = tuple(map(TraceFlags, range(256)))
_parted = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch


class Propagation:
    """Joins attempts to the spans that enqueued them, by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._propagation = settings.propagation
        self._link_after = settings.link_after

    def prepare(self) -> None:
        """Use the global propagator once: its first use is slow."""
        or_else(lambda: propagate.extract({}, _ROOT), lambda _: _ROOT)

    def parent(self, attempt: Attempt) -> tuple[Context, SpanContext, list[Link]]:
        """The context that *attempt*'s span starts in, its parent, and its links."""
        carrier = attempt.carrier
        links = _links_of(carrier)
        if attempt.nested:
            # In immediate mode the enqueue is current, and the run is inside it.
            current = contexts.get_current()
            return current, trace.get_current_span(current).get_span_context(), links
        if carrier is None or not carrier.headers:
            return _ROOT, INVALID_SPAN_CONTEXT, links
        how = self._how(attempt.task, carrier)
        if how == n.PROPAGATE_NONE:
            return _ROOT, INVALID_SPAN_CONTEXT, links
        extracted, origin = _extracted(carrier.headers)
        if how == n.PROPAGATE_CHILD:
            return extracted, origin, links
        if origin.is_valid and all(
            origin.span_id != link.context.span_id for link in links
        ):
            links.insert(0, Link(origin))
        return _ROOT, INVALID_SPAN_CONTEXT, links

    @guarded
    def of_chord(self, member: Attempt) -> Context | None:
        """The context that the chord of *member* was enqueued in.

        None if the attempt itself is in that trace, or should not be.
        """
        carrier = member.carrier
        if carrier is None or not carrier.headers or member.nested:
            return None
        if carrier.hops > _MOST_HOPS or self._wanted(member.task) == n.PROPAGATE_NONE:
            return None
        origin = _read(carrier.headers.get(n.ORIGIN_HEADER, ""))
        if origin is None:
            enqueued, wanted = _extracted(carrier.headers)
        else:
            enqueued, wanted = _within(origin), origin
        here = trace.get_current_span().get_span_context()
        if not wanted.is_valid or wanted.trace_id == here.trace_id:
            return None
        return enqueued

    def headers_of_retry(self, attempt: Attempt, following: Carrier) -> dict[str, str]:
        """The headers of *following*, the carrier of the attempt after *attempt*.

        They change only if *attempt* began a trace in which the next one stays.
        """
        headers = dict(following.headers)
        span = attempt.span
        if span is None or not span.get_span_context().is_valid:
            return headers
        before, origin = _extracted(headers)
        if not origin.is_valid:
            return headers_of(trace.set_span_in_context(span, before))
        if (
            origin.trace_id == span.get_span_context().trace_id
            or self._how(attempt.task, following) != n.PROPAGATE_CHILD
        ):
            return headers
        began = headers_of(trace.set_span_in_context(span, _ROOT))
        known = headers.get(n.ORIGIN_HEADER)
        began[n.ORIGIN_HEADER] = known or _traceparent(origin)
        return began

    def _how(self, task: Task, carrier: Carrier) -> str:
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


def _extracted(headers: Mapping[str, str]) -> tuple[Context, SpanContext]:
    """What the global propagator reads in *headers*, and the span in there."""
    text = headers.get(_TRACEPARENT)
    if (
        text is not None
        and len(headers) == 1
        and _is_default(propagate.get_global_textmap())
    ):
        ids = _read(text)
        if ids is not None:
            return _within(ids), ids
    context = _ROOT
    if headers:
        context = or_else(
            lambda: propagate.extract(headers, _ROOT), lambda error: _lost(error, _ROOT)
        )
    return context, trace.get_current_span(context).get_span_context()


def _within(ids: SpanContext) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(ids), _ROOT)


def headers_of(context: Context) -> dict[str, str]:
    """What the global propagator writes of *context*, within the limits above."""
    if _is_default(propagate.get_global_textmap()):
        ids = trace.get_current_span(context).get_span_context()
        # One value in a context that has a span is that span.
        alone = len(context) == 1 or not baggage.get_all(context)
        if alone and ids.is_valid and not ids.trace_state:
            return {_TRACEPARENT: _traceparent(ids)}
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
    return headers


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


def _traceparent(ids: SpanContext) -> str:
    """*ids* as the header of version 00."""
    return f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}"


def _read(text: str) -> SpanContext | None:
    """The ids that *text* has, None if it is no valid header of version 00."""
    parts = _parted(text)
    if parts is None:
        return None
    trace_id, span_id, flags = parts.groups()
    ids = SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=_FLAGS[int(flags, 16)],
    )
    return ids if ids.is_valid else None


class _Asked:
    """The propagator of the last call of `_is_default`, and the answer."""

    textmap: TextMapPropagator | None = None
    is_default = False


def _is_default(textmap: TextMapPropagator) -> bool:
    """Whether *textmap* is opentelemetry's default: trace context, then baggage.

    A traceparent alone we read and write ourselves, in a third of its time.
    """
    if textmap is not _Asked.textmap:
        parts = getattr(textmap, "_propagators", ())
        _Asked.is_default = (
            type(textmap) is CompositePropagator and [*map(type, parts)] == _DEFAULT
        )
        _Asked.textmap = textmap
    return _Asked.is_default


def named(span: Span | None) -> str | None:
    """The traceparent of *span*, for a link to it; None if it has no id."""
    ids = trace.INVALID_SPAN_CONTEXT if span is None else span.get_span_context()
    return _traceparent(ids) if ids.is_valid else None


def some(members: list[str]) -> tuple[str, ...]:
    """At most _MOST_MEMBERS of *members*, from both ends."""
    if len(members) <= _MOST_MEMBERS:
        return tuple(members)
    half = _MOST_MEMBERS // 2
    return (*members[:half], *members[-half:])


def _links_of(carrier: Carrier | None) -> list[Link]:
    """Links to the attempt before, and to the members of a callback's chord."""
    if carrier is None:
        return []
    links = [] if carrier.previous is None else _link(carrier.previous, n.LINK_RETRY)
    for member in carrier.members:
        links += _link(member, n.LINK_MEMBER)
    return links


def _link(text: str, kind: str) -> list[Link]:
    ids = _read(text)
    return [] if ids is None else [Link(ids, {n.LINK_KIND: kind})]
