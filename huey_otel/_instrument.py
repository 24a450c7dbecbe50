"""instrument() and uninstrument(): settings in, parts assembled."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Never

from huey.api import Huey
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from huey_otel import _names as n
from huey_otel import _settings
from huey_otel._emitter import RedisEventEmitter
from huey_otel._forks import look_around
from huey_otel._instrumentation import Instrumentation, instrumentation_of
from huey_otel._redaction import shown
from huey_otel._settings import Propagation, Settings
from huey_otel._values import UNSET, NotGiven, given_or_none
from huey_otel.observed.consumer import offer_constants

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

OPTIONS: Final = (
    "events",
    "channel",
    "publish_enqueued",
    "tracebacks",
    "flush_timeout",
    "tracer_provider",
    "propagation",
    "link_after",
    "span_naming",
    "envelope",
    "semconv_metrics",
    "meter_provider",
    "registry",
    "metrics_host",
    "metrics_port",
    "duration_buckets",
    "wait_buckets",
)

_TRACER_PROVIDER: Final = "an opentelemetry.trace.TracerProvider, or None"
_METER_PROVIDER: Final = "an opentelemetry.metrics.MeterProvider, or None"
_REGISTRY: Final = "a prometheus_client.CollectorRegistry, or None for the default one"

offer_constants()


def instrument(
    huey: Huey,
    *,
    events: RedisEventEmitter | NotGiven | None = UNSET,
    channel: str | NotGiven | None = UNSET,
    publish_enqueued: bool | NotGiven = UNSET,
    tracebacks: bool | NotGiven = UNSET,
    flush_timeout: float | NotGiven = UNSET,
    tracer_provider: TracerProvider | NotGiven | None = UNSET,
    propagation: Propagation | NotGiven = UNSET,
    link_after: float | NotGiven = UNSET,
    span_naming: str | NotGiven = UNSET,
    envelope: bool | NotGiven = UNSET,
    semconv_metrics: bool | NotGiven = UNSET,
    meter_provider: MeterProvider | NotGiven | None = UNSET,
    registry: "CollectorRegistry | NotGiven | None" = UNSET,
    metrics_host: str | NotGiven = UNSET,
    metrics_port: int | NotGiven | None = UNSET,
    duration_buckets: Iterable[float] | NotGiven = UNSET,
    wait_buckets: Iterable[float] | NotGiven = UNSET,
    **unknown: Never,
) -> Instrumentation:
    """Make *huey* observable; all that is needed, once, where the queue is defined.

    *events* says where the consumer's events are published: by default on the
    queue's own Redis, None for nowhere. *channel* None is the queue's name.
    *publish_enqueued* adds an event for each task put on the queue,
    *tracebacks* False leaves them out. *flush_timeout* is how many seconds a
    shutdown waits for telemetry at most.

    Spans go to *tracer_provider*, by default the application's, else to one
    built from the `OTEL_*` environment. *propagation* says whether an attempt
    is a child of its enqueue, linked to it, or neither; `auto` links those that
    were put off for more than *link_after* seconds. *span_naming* `queue` names
    spans strictly by the semantic conventions. *envelope* True lets messages
    carry context that are not made by pickle; then all that share the queue
    must be instrumented. *semconv_metrics* True tells the semantic conventions'
    metrics to *meter_provider*, by default one built from the environment, else
    the application's.

    A consumer shows its metrics in *registry*, by default prometheus_client's
    own, and serves them on *metrics_host* (localhost) and *metrics_port* (9464;
    0 picks a free one, None serves nothing), with *duration_buckets* and
    *wait_buckets* in seconds. What is not given comes from the
    environment, `HUEY_OTEL_*`. A second call for one huey returns the same
    Instrumentation. Raises TypeError or ValueError for what is not accepted.
    """
    given = {name: value for name, value in locals().items() if name in OPTIONS}
    if not isinstance(huey, Huey):
        raise TypeError(
            f"instrument({shown(huey)}): expected a huey.Huey, such as"
            " RedisHuey('my-app')"
            " (a MiniHuey has no consumer and no storage to observe)"
        )
    checked = check(**given, **unknown)
    known = instrumentation_of(huey)
    if known is not None and not known.automatic:
        return known
    if known is not None:
        # Who asks for it in the code knows better than `opentelemetry-instrument`.
        known.uninstrument()
    return begin(huey, checked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The arguments of `instrument`, merged with the environment."""

    settings: Settings
    emitter: RedisEventEmitter | None
    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None
    registry: "CollectorRegistry | None"


def check(
    *,
    events: Any = UNSET,
    tracer_provider: Any = UNSET,
    meter_provider: Any = UNSET,
    registry: Any = UNSET,
    **plain: Any,
) -> Checked:
    """Merge arguments of `instrument` with the environment; raises as it does."""
    unknown = sorted(plain.keys() - set(OPTIONS))
    if unknown:
        raise TypeError(
            f"instrument() does not know {', '.join(unknown)};"
            f" accepted are {', '.join(OPTIONS)}"
        )
    if events is not UNSET and not isinstance(events, RedisEventEmitter | None):
        raise TypeError(
            f"events={shown(events)}: expected a RedisEventEmitter,"
            " or None for no events"
        )
    for argument, given, method, expected in (
        ("tracer_provider", tracer_provider, "get_tracer", _TRACER_PROVIDER),
        ("meter_provider", meter_provider, "get_meter", _METER_PROVIDER),
        ("registry", registry, "register", _REGISTRY),
    ):
        if given_or_none(given) is not None and not hasattr(given, method):
            raise TypeError(f"{argument}={given!r}: expected {expected}")
    settings = _settings.read(events=events, **plain)
    emitter = given_or_none(events)
    if settings.events_url is not None:
        emitter = _from_environment(settings.events_url)
    return Checked(
        settings=settings,
        emitter=emitter,
        tracer_provider=given_or_none(tracer_provider),
        meter_provider=given_or_none(meter_provider),
        registry=given_or_none(registry),
    )


def begin(huey: Huey, checked: Checked, *, automatic: bool = False) -> Instrumentation:
    """Instrument *huey*, which is not; *automatic* when nobody named it."""
    if not checked.settings.disabled:
        look_around()
    instrumentation = Instrumentation(
        huey,
        checked.settings,
        checked.emitter,
        checked.tracer_provider,
        checked.registry,
        meter_provider=checked.meter_provider,
        automatic=automatic,
    )
    if not checked.settings.disabled:
        instrumentation.begin()
    return instrumentation


def uninstrument(huey: Huey) -> None:
    """Undo `instrument`; harmless for a huey that is not instrumented."""
    known = instrumentation_of(huey)
    if known is not None:
        known.uninstrument()


def _from_environment(url: str) -> RedisEventEmitter:
    try:
        return RedisEventEmitter(url=url)
    except ValueError as error:
        raise ValueError(f"{n.ENV_EVENTS}: {error}") from None
