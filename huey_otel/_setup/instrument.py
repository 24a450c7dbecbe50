"""instrument() and uninstrument(): settings in, parts assembled."""

from __future__ import annotations

import inspect
import os
import re
import textwrap
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from huey.api import Huey, Task

from huey_otel._options import settings as merged
from huey_otel._options.settings import Settings
from huey_otel._options.table import OPTIONS
from huey_otel._options.values import WithLogs
from huey_otel._prometheus.registry import is_default
from huey_otel._safety.redaction import shown
from huey_otel._setup.instrumentation import Instrumentation, instrumentation_of
from huey_otel._storage.emitter import RedisEventEmitter, of_storage

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider
    from prometheus_client import CollectorRegistry


_FOR_A_STREAM: Final = (
    "stream=None, or events= with a Redis, on which the stream is kept"
)


class Options(TypedDict, total=False):
    """The options of `instrument` for type checkers; the table has what they mean."""

    events: RedisEventEmitter | str | bool | None
    channel: str | None
    publish_enqueued: bool | str
    tracebacks: bool | str
    stream: int | str | bool | None
    flush_timeout: float
    publish_metrics: float | bool | str | None
    tracer_provider: TracerProvider | None
    propagation: str | Callable[[Task], str]
    link_after: float
    span_naming: str
    envelope: bool | str
    semconv_metrics: bool | str
    meter_provider: MeterProvider | None
    logger_provider: LoggerProvider | None
    registry: CollectorRegistry | None
    metrics_host: str
    metrics_port: int | str | None
    stuck_after: float
    duration_buckets: Iterable[float]
    wait_buckets: Iterable[float]


def instrument(huey: Huey, **options: Unpack[Options]) -> Instrumentation:
    """Make *huey* observable. Call it once, where the queue is defined.

    From then on its consumer publishes events, exports spans and serves metrics, even
    if it runs already. An option that is not given comes from the environment, else it
    has its default. A second call for the same huey returns the same Instrumentation.
    Raises TypeError or ValueError for an option that is not accepted, ValueError for a
    second call with other options, and RuntimeError if the huey's consumer has forked
    its workers already.
    """
    if not isinstance(huey, Huey):
        raise TypeError(
            f"instrument({shown(huey)}): expected a huey.Huey, such as"
            " RedisHuey('my-app')"
            " (a MiniHuey has no consumer and no storage to observe)"
        )
    settings = check(options)
    # Workers may call it in their start-up hooks, all at once.
    with _Instrumenting.lock:
        known = instrumentation_of(huey)
        if known is None or known.automatic:
            _refuse_no_redis(huey, settings, options)
        if known is not None and (
            known.automatic or known.settings.disabled is not settings.disabled
        ):
            # `opentelemetry-instrument` made it, or HUEY_OTEL_DISABLED has changed.
            known.uninstrument()
            known = None
        if known is None:
            return Instrumentation(huey, settings).begin()
        _refuse_others(known, settings, options)
        return known


def _refuse_no_redis(huey: Huey, settings: Settings, given: Mapping[str, Any]) -> None:
    """ValueError if a stream is *given*, and the events of *huey* go nowhere."""
    if "stream" not in given or not settings.stream or settings.disabled:
        # The variable is for all queues of the process.
        return
    if settings.events is not True or huey.immediate:
        # In immediate mode, as in tests, its storage is memory; later it is another.
        return
    if of_storage(huey.storage) is None:
        raise ValueError(
            f"stream={shown(given['stream'])}: the queue has no Redis; expected"
            f" {_FOR_A_STREAM}"
        )


class _Instrumenting:
    """The lock is held while a huey is instrumented, and free in a forked child."""

    lock = threading.RLock()

    @classmethod
    def renew(cls) -> None:
        cls.lock = threading.RLock()


os.register_at_fork(after_in_child=_Instrumenting.renew)


def _documented(function: Callable[..., Instrumentation]) -> None:
    """Give *function* the signature and the help text that the table makes."""
    of = inspect.Parameter
    huey = of("huey", of.POSITIONAL_OR_KEYWORD, annotation=_Plain("Huey"))
    parameters = [huey]
    lines = [inspect.cleandoc(function.__doc__ or ""), "", "Options:"]
    for option in OPTIONS.values():
        default = _Plain(option.default_text)
        kind = _Plain(Options.__annotations__[option.name].__forward_arg__)
        parameters.append(
            of(option.name, of.KEYWORD_ONLY, default=default, annotation=kind)
        )
        variable = f", {option.variable}" if option.variable else ""
        lines.append(f"  {option.name} ({option.default_text}{variable})")
        # A help text has no links.
        purpose = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", option.purpose)
        lines += textwrap.wrap(
            purpose, 72, initial_indent="    ", subsequent_indent="    "
        )
    function.__doc__ = "\n".join(lines)
    vars(function)["__signature__"] = inspect.Signature(
        parameters, return_annotation=_Plain(Instrumentation.__name__)
    )


class _Plain:
    """A text that a signature shows without quotes."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


_documented(instrument)


def check(options: Mapping[str, Any]) -> Settings:
    """Merge options of `instrument` with the environment; raises as it does."""
    settings = merged.read(options)
    events = settings.events
    if isinstance(events, str):
        given = "events" in options
        try:
            events = RedisEventEmitter(url=events)
        except ValueError as error:
            if given or not settings.disabled:
                name = "events" if given else OPTIONS["events"].variable
                raise ValueError(f"{name}: {error}") from None
            events = False
    if not isinstance(events, bool | RedisEventEmitter):
        raise TypeError(
            f"events={shown(events)}: expected {OPTIONS['events'].kind.accepted}"
        )
    if settings.stream and events is False and not settings.disabled:
        called = f"stream={shown(options['stream'])}" if "stream" in options else ""
        raise ValueError(
            f"{called or OPTIONS['stream'].variable}: no events go to Redis; expected"
            f" {_FOR_A_STREAM}"
        )
    channel = settings.channel
    own = getattr(events, "channel", None)
    if own is not None:
        if options.get("channel") not in (None, own):
            raise ValueError(
                f"channel={channel!r}: events= has the channel {own!r};"
                " expected the same, or one of the two"
            )
        channel = own
    if settings.logs_export is not None and not settings.disabled:
        _refuse_old_sdk(options)
    return settings._replace(events=events, channel=channel)


def _refuse_old_sdk(options: Mapping[str, Any]) -> None:
    """ValueError if the log records of this OpenTelemetry have no names of events."""
    from huey_otel._otel import log_records

    too_old = log_records.too_old()
    if too_old:
        variable = OPTIONS["events"].variable
        given = shown(options.get("events", os.environ.get(variable)))
        name = "events" if "events" in options else variable
        raise ValueError(f"{name}={given}: {too_old}")


def _refuse_others(
    known: Instrumentation, wanted: Settings, given: Mapping[str, Any]
) -> None:
    """ValueError if one of the options *given* is not what *known* has in effect."""
    for name in given:
        before, now = _in_effect(known.settings, name), _in_effect(wanted, name)
        if before == now or (name == "channel" and now == known.channel):
            continue
        raise ValueError(
            f"{name}={shown(given[name])}: this huey is instrumented already, with"
            f" {name}={shown(before)}; expected the same, or"
            " uninstrument(huey) first"
        )


def _in_effect(settings: Settings, name: str) -> object:
    """What option *name* is in *settings*."""
    if name == "events" and settings.logs_export is not None:
        return WithLogs(settings.events)
    if name == "registry":
        return None if is_default(settings.registry) else settings.registry
    if hasattr(settings, name):
        return getattr(settings, name)
    return getattr(settings.exposed, name.removeprefix("metrics_"))


def uninstrument(huey: Huey) -> None:
    """Undo `instrument`; harmless for a huey that is not instrumented."""
    known = instrumentation_of(huey)
    if known is not None:
        known.uninstrument()
