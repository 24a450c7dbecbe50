"""The tracer provider: the application's, or one built as the environment says."""

import logging
import threading
from multiprocessing import util
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import (
    NoOpTracer,
    ProxyTracerProvider,
    Tracer,
    TracerProvider,
)

from huey_otel import _names as n
from huey_otel._options.export import Export
from huey_otel._options.otel_variables import replaced
from huey_otel._otel import propagators, spans
from huey_otel._otel.flusher import FLUSHER
from huey_otel._otel.span_counts import SPANS
from huey_otel._otel.spans import SpanStarter, starter_of
from huey_otel._safety import encodable
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

_DISABLED: Final = "off, OTEL_SDK_DISABLED is set"


class ResolvedProvider:
    """A tracer provider and what starts our spans; `built` describes it if it is ours.

    `where` tells people where spans go, or why they do not.
    """

    def __init__(
        self, provider: TracerProvider, where: str, built: "BuiltProvider | None" = None
    ) -> None:
        self.provider = provider
        self.where = where
        self.built = built
        self.tracer: Tracer = trace.get_tracer(
            n.DISTRIBUTION, version(), tracer_provider=provider
        )
        self.spans: SpanStarter = starter_of(provider, self.tracer)
        self.may_be_silent = type(provider) is ProxyTracerProvider

    @property
    def exact(self) -> Any:
        """What makes spans of given ids; None where only the provider chooses ids."""
        spans: Any = self.spans
        known = hasattr(spans, "again") and (self.built or spans.why_not is None)
        return spans if known else None

    @property
    def silent(self) -> bool:
        """Whether there is no provider yet, so that a span would go nowhere."""
        # `get_tracer_provider` reads the environment each time, on a task's path.
        return self.may_be_silent and getattr(trace, "_TRACER_PROVIDER", self) is None


class _BuiltOnce:
    """The one provider that we built for this process, if we did."""

    def __init__(self) -> None:
        self.resolved: ResolvedProvider | None = None
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()
        self.given_up = False


_BUILT: Final = _BuiltOnce()


class LazyTracer:
    """Finds the provider late, so an application may set its own after `instrument`.

    That is the one *given*, the global one, or one from the environment. We build
    one and set it globally only if the application has set none and the environment
    names an exporter; otherwise spans cost what the API costs.

    `ready` is the provider once this process can flush what it exports, else None.
    """

    def __init__(
        self, given: TracerProvider | None, export: Export, queue: str
    ) -> None:
        self._given = given
        self._export = export
        self._queue = queue
        self._found: ResolvedProvider | None = None
        self.ready: ResolvedProvider | None = None
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        self.ready = None

    def load(self) -> None:
        """Import what the first span needs, if the environment asks for spans.

        What cannot be imported is logged when the first span starts.
        """

        def load_sdk() -> None:
            with replaced(self._export.instead):
                from huey_otel import sampling  # noqa: F401
                from huey_otel._otel import sdk_provider

                sdk_provider.load(self._export)

        # It reads the metadata of the installed package.
        version()
        if self._given is None and self._export.exporters:
            or_else(load_sdk, lambda _: None)
        or_else(spans.load, lambda _: None)

    def resolved(self) -> ResolvedProvider:
        """The provider, found now if it was not yet."""
        if self.ready is None:
            found = self._found or self._resolve()
            self.use(found)
            if hasattr(found.provider, "force_flush"):
                FLUSHER.prepare()
            self.ready = found
        return self.ready

    def make(self) -> None:
        """Find it, and make its exporters now: a consumer is about to fork workers."""
        self.use(self._resolve(at_once=True))

    def use(self, resolved: ResolvedProvider | None) -> ResolvedProvider | None:
        """Use *resolved* from now on, None to find one again; returns the old one."""
        before, self._found, self.ready = self._found, resolved, None
        return before

    def flush(self) -> threading.Event | None:
        """Begin to export what waits; the event is set when it is out."""
        if self._found is None:
            return None
        provider = self._found.provider
        if isinstance(provider, ProxyTracerProvider):
            # The application may have set the global provider since.
            provider = self._global()
        return FLUSHER.flush(provider)

    def service_version(self) -> str:
        """The `service.version` of the resource, empty where there is none."""
        resource = getattr(self.resolved().provider, "resource", None)
        attributes = getattr(resource, "attributes", {})
        return encodable.name(attributes.get(n.SERVICE_VERSION, ""))

    @property
    def left(self) -> int:
        """How many spans our provider may still export."""
        built = self._found is not None and self._found.built is not None
        return SPANS.here.left if built else 0

    def give_up(self) -> None:
        """Count the spans that our provider did not export by the process' end."""
        if self._found is not None and self._found.built is not None:
            from huey_otel._otel.exporter import give_up

            _BUILT.given_up = True
            give_up()

    def __str__(self) -> str:
        return "not asked for yet" if self._found is None else self._found.where

    def _global(self) -> TracerProvider:
        with replaced(self._export.instead):
            return trace.get_tracer_provider()

    def _resolve(self, *, at_once: bool = False) -> ResolvedProvider:
        """Find the provider; *at_once* makes the exporters before their first use."""
        warn_once(propagators.ignored, then="; ignored")
        if self._given is not None:
            return ResolvedProvider(self._given, "to the tracer_provider= given")
        with _BUILT.lock:
            current = self._global()
            built = _BUILT.resolved
            if built is not None and built.provider is current:
                return _started(built) if at_once else built
            if isinstance(current, ProxyTracerProvider):
                return self._of_environment(current, at_once=at_once)
        found = ResolvedProvider(current, "to the application's tracer provider")
        # The SDK's provider is off then; another vendor's may not care.
        off = self._export.disabled and isinstance(found.tracer, NoOpTracer)
        return ResolvedProvider(current, _DISABLED) if off else found

    def _of_environment(
        self, current: TracerProvider, *, at_once: bool
    ) -> ResolvedProvider:
        export = self._export
        if export.disabled:
            return ResolvedProvider(current, _DISABLED)
        warn_once(export.ignored, then="; ignored")
        if not export.exporters:
            unset = "none until the application sets a tracer provider"
            return ResolvedProvider(current, f"{unset}; {export.why_none}")
        return or_else(
            lambda: self._build(current, at_once=at_once),
            lambda error: _off(current, f"{class_name(error)}: {message(error)}"),
        )

    def _build(self, current: TracerProvider, *, at_once: bool) -> ResolvedProvider:
        with replaced(self._export.instead):
            from huey_otel import sampling
            from huey_otel._otel.sdk_provider import BuiltProvider

            made = BuiltProvider(self._export, self._queue, at_once=at_once)
            if not made.processors:
                return _off(current, *made.problems)
            warn_once(made.problems)
            made.provider.sampler = sampling.linked(made.provider.sampler)
            where = self._export.over(made.names)
            built = ResolvedProvider(made.provider, where, made)
        _BUILT.resolved = built
        trace.set_tracer_provider(made.provider)
        util.Finalize(None, _flush_at_end, args=(built,), exitpriority=_LAST)
        logger.info("spans go %s, by a tracer provider that is now global", where)
        return built


def _started(resolved: ResolvedProvider) -> ResolvedProvider:
    """Make the exporters of *resolved*, which a producer may have built before."""
    why = resolved.built and resolved.built.start()
    if not why:
        return resolved
    warn_once([f"spans are off: {why}"])
    return ResolvedProvider(resolved.provider, f"off, {why}", resolved.built)


def _off(current: TracerProvider, *problems: str) -> ResolvedProvider:
    warn_once(f"spans are off: {problem}" for problem in problems)
    return ResolvedProvider(current, f"off, {problems[0]}")


@guarded
def _flush_at_end(built: ResolvedProvider) -> None:
    """Export what is left, if no instrumented huey has waited for it."""
    if not _BUILT.given_up:
        FLUSHER.flush(built.provider).wait(LAST_SPANS)
