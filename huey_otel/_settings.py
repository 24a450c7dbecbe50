"""Settings: argument beats environment beats default. The only reader of os.environ."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from huey.api import Task

from huey_otel import _exposed
from huey_otel import _names as n
from huey_otel._export import Export, read_export
from huey_otel._exposed import Exposed
from huey_otel._redaction import shown
from huey_otel._standard import METRICS
from huey_otel._values import UNSET, NotGiven, choice, flag, given_or_none, seconds

Propagation = str | Callable[[Task], str]
"""`auto`, `child`, `link`, `none`, or what says which of these for a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `instrument` was asked for, checked.

    `events_url` is where the environment sends the events; None leaves it to
    the queue's own storage. `flush_timeout` is in seconds.
    """

    disabled: bool
    events_off: bool
    events_url: str | None
    channel: str | None
    publish_enqueued: bool
    tracebacks: bool
    flush_timeout: float
    propagation: Propagation
    link_after: float
    span_naming: str
    envelope: bool
    semconv_metrics: bool
    export: Export
    metrics_export: Export
    exposed: Exposed


def read(
    *,
    events: object = UNSET,
    channel: str | NotGiven | None = UNSET,
    publish_enqueued: bool | NotGiven = UNSET,
    tracebacks: bool | NotGiven = UNSET,
    flush_timeout: float | NotGiven = UNSET,
    propagation: Propagation | NotGiven = UNSET,
    link_after: float | NotGiven = UNSET,
    span_naming: str | NotGiven = UNSET,
    envelope: bool | NotGiven = UNSET,
    semconv_metrics: bool | NotGiven = UNSET,
    metrics_host: str | NotGiven = UNSET,
    metrics_port: int | NotGiven | None = UNSET,
    duration_buckets: Iterable[float] | NotGiven = UNSET,
    wait_buckets: Iterable[float] | NotGiven = UNSET,
    env: Mapping[str, str] | None = None,
) -> Settings:
    """Merge arguments and environment; an error names what is accepted."""
    # Empty is unset, as everywhere in OpenTelemetry.
    env = {
        name: value
        for name, value in (os.environ if env is None else env).items()
        if value.strip()
    }
    disabled = flag(UNSET, env, n.ENV_DISABLED, "", default=False)
    if disabled:
        # Who turns it off at night must not be stopped by another variable.
        env = {}
    events_off, events_url = _events(events, env)
    return Settings(
        disabled=disabled,
        events_off=events_off,
        events_url=events_url,
        channel=_channel(channel, env),
        publish_enqueued=flag(
            publish_enqueued,
            env,
            n.ENV_PUBLISH_ENQUEUED,
            "publish_enqueued",
            default=False,
        ),
        tracebacks=flag(tracebacks, env, n.ENV_TRACEBACKS, "tracebacks", default=True),
        flush_timeout=seconds(
            flush_timeout, env, n.ENV_FLUSH_TIMEOUT, "flush_timeout", default=5.0
        ),
        propagation=_propagation(propagation, env),
        link_after=seconds(
            link_after, env, n.ENV_LINK_AFTER, "link_after", default=600.0
        ),
        span_naming=choice(
            span_naming, env, n.ENV_SPAN_NAMING, "span_naming", n.SPAN_NAMINGS
        ),
        envelope=flag(envelope, env, n.ENV_ENVELOPE, "envelope", default=False),
        semconv_metrics=flag(
            semconv_metrics,
            env,
            n.ENV_SEMCONV_METRICS,
            "semconv_metrics",
            default=False,
        ),
        export=read_export(env),
        metrics_export=read_export(env, METRICS),
        exposed=Exposed(
            host=_exposed.host(given_or_none(metrics_host), env),
            port=(
                _exposed.port_of_environment(env)
                if metrics_port is UNSET
                else _exposed.port(metrics_port)
            ),
            duration_buckets=_exposed.buckets(
                given_or_none(duration_buckets),
                env,
                n.ENV_DURATION_BUCKETS,
                "duration_buckets",
                n.DURATION_BUCKETS,
            ),
            wait_buckets=_exposed.buckets(
                given_or_none(wait_buckets),
                env,
                n.ENV_WAIT_BUCKETS,
                "wait_buckets",
                n.WAIT_BUCKETS,
            ),
        ),
    )


def _events(given: object, env: Mapping[str, str]) -> tuple[bool, str | None]:
    if given is None:
        return True, None
    if given is not UNSET:
        return False, None
    raw = env.get(n.ENV_EVENTS, "").strip()
    if raw.lower() in ("off", "none"):
        return True, None
    if not raw or raw.lower() == "on":
        return False, None
    if "://" not in raw:
        raise ValueError(
            f"{n.ENV_EVENTS}={shown(raw)}: expected 'off', or a Redis URL such as"
            " redis://localhost:6379/0"
        )
    return False, raw


def _channel(given: str | NotGiven | None, env: Mapping[str, str]) -> str | None:
    if given is UNSET:
        return env.get(n.ENV_CHANNEL) or None
    if given is None:
        return None
    if not isinstance(given, str):
        raise TypeError(
            f"channel={given!r}: expected a str, or None for the queue's name"
        )
    if not given:
        raise ValueError(f"channel={given!r}: expected a name, or None for the queue's")
    return given


def _propagation(given: Propagation | NotGiven, env: Mapping[str, str]) -> Propagation:
    if callable(given):
        return given
    return choice(given, env, n.ENV_PROPAGATION, "propagation", n.PROPAGATIONS)
