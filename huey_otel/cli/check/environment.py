"""The application, as it is in this environment: its settings, and where spans go."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import NoOpTracer, ProxyTracerProvider

from huey_otel._hooks.consumer import existing
from huey_otel._options.settings import Settings
from huey_otel._otel.empty_export import refusals
from huey_otel._otel.provider import LazyTracer, ResolvedProvider
from huey_otel._process.outputs import Destinations
from huey_otel._safety import encodable
from huey_otel._safety.greenlets import patched
from huey_otel._safety.timeout import or_else
from huey_otel._setup.instrumentation import instrumentation_of
from huey_otel.cli.target import settings_of

if TYPE_CHECKING:
    from huey.api import Huey

    from huey_otel._storage.emitter import RedisEventEmitter

_MULTIPROC: Final = "PROMETHEUS_MULTIPROC_DIR"
_GREENLET: Final = "greenlet"

# Of the lowest number that a sampler by ratio sees: one that drops it drops all.
_LOWEST: Final = 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Where spans go, for people.

    *off* says why there are none, *wrong* whether that is by mistake. *way* is how they
    are started. *sampler* is one that samples none. *refused* says of each exporter of
    OTLP why its collector takes nothing.
    """

    where: str
    way: str
    off: str
    wrong: bool
    sampler: str
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The huey at *path*. *emitter* and *channel* are where its events go.

    *multiproc_dir* is what PROMETHEUS_MULTIPROC_DIR says, empty if it is not set, and
    *multiproc_wrong* why prometheus_client cannot use that. *greenlets* says what runs
    its workers as greenlets, empty if nothing here does.
    """

    path: str
    huey: "Huey"
    instrumented: bool
    settings: Settings
    emitter: "RedisEventEmitter | None"
    channel: str
    spans: Spans
    periodic_tasks: int
    multiproc_dir: str
    multiproc_wrong: str
    greenlets: str
    patched: bool


def look_at(path: str, huey: "Huey") -> Environment:
    """Look at *huey*, which was found at *path*."""
    known = instrumentation_of(huey)
    settings = settings_of(huey)
    emitter, channel = Destinations(huey.name, settings).of(huey.storage)
    directory = os.environ.get(_MULTIPROC, "").strip()
    return Environment(
        path=path,
        huey=huey,
        instrumented=known is not None,
        settings=settings,
        emitter=emitter,
        channel=channel,
        spans=_spans(settings, encodable.name(huey.name)),
        periodic_tasks=len(huey._registry.periodic_tasks),  # noqa: SLF001 - huey's own command reads it
        multiproc_dir=directory,
        multiproc_wrong=_wrong(directory),
        greenlets=_greenlets(huey),
        patched=patched(),
    )


def _spans(settings: Settings, queue: str) -> Spans:
    tracer = LazyTracer(settings.tracer_provider, settings.export, queue)
    resolved = tracer.resolved()
    nowhere = isinstance(resolved.provider, ProxyTracerProvider)
    off = nowhere or isinstance(resolved.tracer, NoOpTracer)
    # What the environment asks for, and what came of it.
    export = settings.export
    wanted = export.exporters or export.ignored or export.in_file
    return Spans(
        where=resolved.where,
        way=resolved.spans.way,
        off=resolved.where if off else "",
        wrong=bool(off and wanted and not export.disabled),
        sampler="" if off else _drops_all(resolved),
        refused={} if off or settings.disabled else refusals(resolved.provider),
    )


def _drops_all(resolved: ResolvedProvider) -> str:
    """What the sampler calls itself, if it samples nothing."""
    sampler: Any = getattr(resolved.provider, "sampler", None)
    if sampler is None:
        return ""

    def ask() -> str:
        from opentelemetry.context import Context
        from opentelemetry.sdk.trace.sampling import Decision

        # Not by the current one, in which all of ours is dropped.
        decision = sampler.should_sample(Context(), _LOWEST, "process").decision
        return sampler.get_description() if decision is Decision.DROP else ""

    return or_else(ask, lambda _: "")


def _wrong(directory: str) -> str:
    if not directory:
        return ""
    if not Path(directory).is_dir():
        return "is no directory"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "cannot be written to by this user"
    return ""


def _greenlets(huey: "Huey") -> str:
    """What in this application runs the workers of *huey* as greenlets."""
    for consumer in existing(huey):
        if consumer.worker_type == _GREENLET:
            return "its consumer"
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        from django.conf import settings

        options = getattr(settings, "HUEY", None)
        if isinstance(options, dict):
            kind = (options.get("consumer") or {}).get("worker_type")
            return "HUEY['consumer']['worker_type']" if kind == _GREENLET else ""
    return ""
