"""Sampling: a linked trace is sampled when what it is linked to was."""

from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import Link, get_current_span


class LinksBased(Sampler):
    """Samples a root by its links, as `ParentBased` samples a child by its parent.

    So both ends of a link are sampled, or neither is, if `propagation` is "link" or an
    attempt comes late. For example `LinksBased(ParentBased(TraceIdRatioBased(0.01)))`.

    For a root with links it asks *link_sampled* if a link leads to a sampled span, else
    *link_not_sampled*. For any other span it asks *root*.
    """

    def __init__(
        self,
        root: Sampler,
        link_sampled: Sampler = ALWAYS_ON,
        link_not_sampled: Sampler = ALWAYS_OFF,
    ) -> None:
        self._root = root
        self._link_sampled = link_sampled
        self._link_not_sampled = link_not_sampled

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        """Ask the sampler for such a span."""
        is_child = get_current_span(parent_context).get_span_context().is_valid
        sampler = self._root if is_child else self._chosen(links)
        return sampler.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def _chosen(self, links: Sequence[Link] | None) -> Sampler:
        """The sampler of a root."""
        valid = [link.context for link in links or () if link.context.is_valid]
        if not valid:
            return self._root
        if any(context.trace_flags.sampled for context in valid):
            return self._link_sampled
        return self._link_not_sampled

    def get_description(self) -> str:
        """Name it, with the samplers that it asks."""
        return (
            f"LinksBased{{root:{self._root.get_description()}"
            f",linkSampled:{self._link_sampled.get_description()}"
            f",linkNotSampled:{self._link_not_sampled.get_description()}}}"
        )


def linked(sampler: Sampler) -> Sampler:
    """*sampler*, made to use links if it is one that uses parents."""
    return LinksBased(sampler) if isinstance(sampler, ParentBased) else sampler
