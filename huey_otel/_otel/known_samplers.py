"""Samplers that look at no attribute: which trace ids they sample, known beforehand."""

# ruff: noqa: SLF001 - what a sampler of the SDK's would answer is not public
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    ParentBasedTraceIdRatio,
    StaticSampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link

from huey_otel._otel.own_methods import is_own
from huey_otel.sampling import LinksBased

_EXACT: Final[set[type]] = {
    *(StaticSampler, TraceIdRatioBased, ParentBased, ParentBasedTraceIdRatio),
    LinksBased,
}
LOW_BITS: Final = TraceIdRatioBased.TRACE_ID_LIMIT
_ALL, _NONE = LOW_BITS + 1, 0
ROOT, _LINKED, _UNLINKED = 4, 5, 6
SITUATIONS: Final = range(7)
"""What a span is to a sampler: a child, 0 to 3, or a root without or with links.

Of a child the lowest bit is whether its parent is sampled, the next whether that is
remote.
"""


def bound_of(sampler: Any, situation: int, asked: list[object]) -> int | None:
    """Of which trace ids a span is sampled, by their low bits: those below.

    None if *sampler* has to be asked. The SDK's own do not look at attributes;
    *asked* gets those that answer in such a *situation*.
    """
    while True:
        kind = type(sampler)
        if kind not in _EXACT:
            return None
        asked.append(sampler)
        if not is_own(kind, "should_sample") or "should_sample" in vars(sampler):
            return None
        if kind is StaticSampler:
            bounds = {Decision.RECORD_AND_SAMPLE: _ALL, Decision.DROP: _NONE}
            return bounds.get(sampler._decision)
        if kind is TraceIdRatioBased:
            bound: int = sampler.bound
            return bound
        if kind is LinksBased:
            if situation == _LINKED:
                sampler = sampler._link_sampled
            elif situation == _UNLINKED:
                sampler = sampler._link_not_sampled
            else:
                sampler = sampler._root
        elif situation >= ROOT:
            sampler = sampler._root
        else:
            sampler = (
                sampler._local_parent_not_sampled,
                sampler._local_parent_sampled,
                sampler._remote_parent_not_sampled,
                sampler._remote_parent_sampled,
            )[situation]


def situation_of(links: Sequence[Link]) -> int:
    """The situation of a root with *links*, which are valid."""
    sampled = any(link.context.trace_flags.sampled for link in links)
    return _LINKED if sampled else _UNLINKED
