"""The tracer provider: the application's, or one built as the environment says."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import util
from typing import TYPE_CHECKING, Final

from opentelemetry import trace
from opentelemetry.trace import (
    NoOpTracer,
    ProxyTracerProvider,
    Tracer,
    TracerProvider,
)

from huey_otel import _names as n
from huey_otel._options.otel import Export
from huey_otel._options.standard import TRACER_PROVIDER, Instead, replaced
from huey_otel._otel import propagators
from huey_otel._otel.flusher import FLUSHER
from huey_otel._safety.failures import class_name, message
from huey_otel._safety.forks import in_child
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import warn_once
from huey_otel._safety.shutdown import LAST_SPANS
from huey_otel._safety.timeout import or_else
from huey_otel._safety.version import version

if TYPE_CHECKING:
    from huey_otel._otel.sdk_provider import BuiltProvider

logger = logging.getLogger(n.LOGGER)

_LAST: Final = -101
"""Priority of our finalizer: behind that of all instrumented hueys."""

_GIVEN: Final = "to the tracer_provider= given"
_DISABLED: Final = "off, OTEL_SDK_DISABLED is set"


@dataclass(frozen=True, slots=True)
class Provided:
    """A tracer and its provider, which `built` describes if it is ours.

    `where` tells people where spans go, or why they do not. `instead` is what the
    API must read in place of the environment when it looks up the global provider.
    """

    tracer: Tracer
    provider: TracerProvider
    where: str
    built: "BuiltProvider | None" = None
    instead: Instead = field(default_factory=dict)

    @property
    def silent(self) -> bool:
        """Whether there is no provider yet, so that a span would go nowhere."""
        # `get_tracer_provider` reads the environment each time, on a task's path.
        return (
            type(self.provider) is ProxyTracerProvider
            and getattr(trace, "_TRACER_PROVIDER", self) is None
        )

    def prepare(self) -> None:
        """Be ready to flush whenever this process ends."""
        if hasattr(self.provider, "force_flush"):
            FLUSHER.prepare()

    def flush(self) -> threading.Event:
        """Begin to export all spans that wait; the event says when that is done."""
        provider = self.provider
        if isinstance(provider, ProxyTracerProvider):
            # The application may have set the global provider since.
            with replaced(self.instead):
                provider = trace.get_tracer_provider()
        return FLUSHER.flush(provider)

    def give_up(self) -> None:
        """Count the spans that our provider did not export by the process' end."""
        if self.built is None:
            return
        _BUILT.given_up = True
        for processor in self.built.processors:
            give_up: Callable[[], None] | None = getattr(processor, "give_up", None)
            if give_up is not None:
                give_up()


class _BuiltOnce:
    """The one provider that we built for this process, if we did."""

    def __init__(self) -> None:
        self.provided: Provided | None = None
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()
        self.given_up = False


_BUILT: Final = _BuiltOnce()


def given_one(provider: TracerProvider) -> Provided:
    """Use the *provider* that `instrument` was called with."""
    return _provided(provider, _GIVEN)


def load(given: TracerProvider | None, export: Export) -> None:
    """Import what the first span needs, if the environment asks for spans.

    What cannot be imported is logged when the first span starts.
    """

    def load_sdk() -> None:
        with replaced(export.instead):
            from huey_otel import sampling  # noqa: F401
            from huey_otel._otel import sdk_provider

            sdk_provider.load(export)

    # It reads the metadata of the installed package.
    version()
    if given is None and export.exporters:
        or_else(load_sdk, lambda _: None)


def resolve(
    given: TracerProvider | None, export: Export, queue: str, *, at_once: bool = False
) -> Provided:
    """Find the provider: the argument, the global one, or one from the environment.

    We build one and set it globally only if the application has set none and the
    environment names an exporter; otherwise spans cost what the API costs.
    *at_once* makes the exporters here, not at their first export.
    """
    warn_once(propagators.ignored, then="; ignored")
    if given is not None:
        return given_one(given)
    with _BUILT.lock:
        with replaced(export.instead):
            current = trace.get_tracer_provider()
        built = _BUILT.provided
        if built is not None and built.provider is current:
            return _started(built) if at_once else built
        if not isinstance(current, ProxyTracerProvider):
            applications = _provided(current, "to the application's tracer provider")
            # The SDK's provider is off then; another vendor's may not care.
            off = export.disabled and isinstance(applications.tracer, NoOpTracer)
            return replace(applications, where=_DISABLED) if off else applications
        found = _of_environment(export, queue, current, at_once=at_once)
        if TRACER_PROVIDER not in export.instead:
            return found
        return replace(found, instead={TRACER_PROVIDER: None})


def _of_environment(
    export: Export, queue: str, current: TracerProvider, *, at_once: bool
) -> Provided:
    if export.disabled:
        return _provided(current, _DISABLED)
    warn_once(export.ignored, then="; ignored")
    if not export.exporters:
        unset = "none until the application sets a tracer provider"
        return _provided(current, f"{unset}; {export.why_none}")
    return or_else(
        lambda: _build(export, queue, current, at_once=at_once),
        lambda error: _off(current, f"{class_name(error)}: {message(error)}"),
    )


def _provided(
    provider: TracerProvider, where: str, built: "BuiltProvider | None" = None
) -> Provided:
    tracer = trace.get_tracer(n.DISTRIBUTION, version(), tracer_provider=provider)
    return Provided(tracer, provider, where, built)


def _build(
    export: Export, queue: str, current: TracerProvider, *, at_once: bool
) -> Provided:
    with replaced(export.instead):
        from huey_otel import sampling
        from huey_otel._otel.sdk_provider import BuiltProvider

        made = BuiltProvider(export, queue, at_once=at_once)
        if not made.processors:
            return _off(current, *made.problems)
        warn_once(made.problems)
        made.provider.sampler = sampling.linked(made.provider.sampler)
        built = _provided(made.provider, export.over(made.names), made)
    _BUILT.provided = built
    trace.set_tracer_provider(made.provider)
    util.Finalize(None, _flush_at_end, args=(built,), exitpriority=_LAST)
    logger.info("spans go %s, by a tracer provider that is now global", built.where)
    return built


def _started(built: Provided) -> Provided:
    """Make the exporters of *built*, which a producer may have built before."""
    why = None if built.built is None else built.built.start()
    if why is None:
        return built
    warn_once([f"spans are off: {why}"])
    return replace(built, where=f"off, {why}")


def _off(current: TracerProvider, *problems: str) -> Provided:
    warn_once(f"spans are off: {problem}" for problem in problems)
    return _provided(current, f"off, {problems[0]}")


@guarded
def _flush_at_end(built: Provided) -> None:
    """Export what is left, if no instrumented huey has waited for it."""
    if not _BUILT.given_up:
        built.flush().wait(LAST_SPANS)
