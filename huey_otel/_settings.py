"""Settings: argument beats environment beats default. The only reader of os.environ."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeVar

from huey.api import Task

from huey_otel import _exposed
from huey_otel import _names as n
from huey_otel._export import Export, read_export
from huey_otel._exposed import Exposed

T = TypeVar("T")

_TRUE: Final = ("1", "true", "yes", "on")
_FALSE: Final = ("0", "false", "no", "off")


class Unset(Enum):
    """Tells an argument that was not given from one that is None."""

    UNSET = "not given"

    def __repr__(self) -> str:
        return self.value


UNSET: Final = Unset.UNSET
NotGiven = Literal[Unset.UNSET]


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
    disabled = _flag(UNSET, env, n.ENV_DISABLED, "", default=False)
    if disabled:
        # Who turns it off at night must not be stopped by another variable.
        env = {}
    events_off, events_url = _events(events, env)
    return Settings(
        disabled=disabled,
        events_off=events_off,
        events_url=events_url,
        channel=_channel(channel, env),
        publish_enqueued=_flag(
            publish_enqueued,
            env,
            n.ENV_PUBLISH_ENQUEUED,
            "publish_enqueued",
            default=False,
        ),
        tracebacks=_flag(tracebacks, env, n.ENV_TRACEBACKS, "tracebacks", default=True),
        flush_timeout=_seconds(
            flush_timeout, env, n.ENV_FLUSH_TIMEOUT, "flush_timeout", default=5.0
        ),
        propagation=_propagation(propagation, env),
        link_after=_seconds(
            link_after, env, n.ENV_LINK_AFTER, "link_after", default=600.0
        ),
        span_naming=_choice(
            span_naming, env, n.ENV_SPAN_NAMING, "span_naming", n.SPAN_NAMINGS
        ),
        envelope=_flag(envelope, env, n.ENV_ENVELOPE, "envelope", default=False),
        semconv_metrics=_flag(
            semconv_metrics,
            env,
            n.ENV_SEMCONV_METRICS,
            "semconv_metrics",
            default=False,
        ),
        export=read_export(env),
        metrics_export=read_export(env, "metrics"),
        exposed=Exposed(
            host=_exposed.host(_or_none(metrics_host), env),
            port=(
                _exposed.port_of_environment(env)
                if metrics_port is UNSET
                else _exposed.port(metrics_port)
            ),
            duration_buckets=_exposed.buckets(
                _or_none(duration_buckets),
                env,
                n.ENV_DURATION_BUCKETS,
                "duration_buckets",
                n.DURATION_BUCKETS,
            ),
            wait_buckets=_exposed.buckets(
                _or_none(wait_buckets),
                env,
                n.ENV_WAIT_BUCKETS,
                "wait_buckets",
                n.WAIT_BUCKETS,
            ),
        ),
    )


def shown(value: object) -> str:
    """*value* for a message, without what may be a password in it."""
    if isinstance(value, str):
        return repr(masked(value))
    if isinstance(value, bytes | bytearray | list | tuple | dict | set):
        return f"<{type(value).__name__}>"
    return repr(value)


def masked(url: str) -> str:
    """*url* without user, password and options, also where it is none."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "", url
    # A password that was not quoted may hold anything, also "/", "?" and "#".
    place = re.split("[?#]", rest.rpartition("@")[2])[0]
    if not place.startswith("["):
        # Behind a colon there is a port, or a password without its "@host".
        place = re.sub(r":(?!\d*(/|$))[^/]*", ":***", place)
    return scheme + separator + place


def _or_none(given: T | NotGiven) -> T | None:
    return None if given is UNSET else given


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


def _flag(
    given: bool | NotGiven,  # noqa: FBT001 - a setting's value, not a switch
    env: Mapping[str, str],
    name: str,
    argument: str,
    *,
    default: bool,
) -> bool:
    if given is not UNSET:
        if not isinstance(given, bool):
            raise TypeError(f"{argument}={given!r}: expected True or False")
        return given
    raw = env.get(name)
    if raw is None:
        return default
    if raw.strip().lower() in _TRUE:
        return True
    if raw.strip().lower() in _FALSE:
        return False
    raise ValueError(f"{name}={raw!r}: expected one of {', '.join(_TRUE + _FALSE)}")


def _propagation(given: Propagation | NotGiven, env: Mapping[str, str]) -> Propagation:
    if callable(given):
        return given
    return _choice(given, env, n.ENV_PROPAGATION, "propagation", n.PROPAGATIONS)


def _choice(
    given: str | NotGiven,
    env: Mapping[str, str],
    name: str,
    argument: str,
    accepted: tuple[str, ...],
) -> str:
    """One of *accepted*, of which the first is the default."""
    shown = f"{argument}={given!r}"
    if given is UNSET:
        given = env.get(name, accepted[0])
        shown = f"{name}={given!r}"
    if given not in accepted:
        raise ValueError(f"{shown}: expected one of {', '.join(accepted)}")
    return given


def _seconds(
    given: float | NotGiven,
    env: Mapping[str, str],
    name: str,
    argument: str,
    *,
    default: float,
) -> float:
    if given is not UNSET:
        return seconds(given, f"{argument}={given!r}")
    raw = env.get(name)
    if raw is None:
        return default
    try:
        return seconds(float(raw), f"{name}={raw!r}")
    except ValueError:
        raise ValueError(f"{name}={raw!r}: {_SECONDS}") from None


_SECONDS: Final = "expected a number of seconds, 0 or more"


def seconds(given: object, shown: str) -> float:
    """*given* if it is a time that one can wait; errors call it *shown*."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(f"{shown}: {_SECONDS}")
    if not 0 <= given < float("inf"):
        raise ValueError(f"{shown}: {_SECONDS}")
    return float(given)
