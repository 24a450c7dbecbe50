"""Settings of the metrics page: where it is, and the buckets of its histograms."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from huey_otel import _names as n

_OFF: Final = ("off", "none")
_HIGHEST: Final = 65_535
_MOST_BUCKETS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposed:
    """Where the metrics are. `port` None is nowhere, 0 a free one."""

    host: str
    port: int | None
    duration_buckets: tuple[float, ...]
    wait_buckets: tuple[float, ...]


def host(given: object, env: Mapping[str, str]) -> str:
    """The address to listen on, *given* None for that of the environment."""
    if given is None:
        return env.get(n.ENV_METRICS_HOST) or env.get(n.ENV_OTEL_HOST) or "localhost"
    if not isinstance(given, str):
        raise TypeError(f"metrics_host={given!r}: expected a host name or an address")
    if not given:
        raise ValueError(f"metrics_host={given!r}: expected a host name or an address")
    return given


def port_of_environment(env: Mapping[str, str]) -> int | None:
    """The port by the environment, by default OpenTelemetry's 9464."""
    for name in (n.ENV_METRICS_PORT, n.ENV_OTEL_PORT):
        raw = env.get(name, "").strip()
        if raw.lower() in _OFF:
            return None
        if raw:
            return _port(raw, f"{name}={raw!r}")
    return 9464


def port(given: object) -> int | None:
    """*given* if it is a port, or None for no page at all."""
    shown = f"metrics_port={given!r}"
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(f"{shown}: {_ACCEPTED}")
    return _port(str(given), shown)


_ACCEPTED: Final = (
    f"expected a port from 0 (a free one) to {_HIGHEST}, or None for no metrics page"
)


def _port(raw: str, shown: str) -> int:
    if not raw.isdecimal() or int(raw) > _HIGHEST:
        raise ValueError(f"{shown}: {_ACCEPTED}")
    return int(raw)


def buckets(
    given: Iterable[float] | None,
    env: Mapping[str, str],
    name: str,
    argument: str,
    default: tuple[float, ...],
) -> tuple[float, ...]:
    """Upper bounds in seconds, *given* None for those of the environment."""
    if given is not None:
        return checked_buckets(given, argument)
    raw = env.get(name)
    if raw is None:
        return default
    try:
        bounds = [float(bound) for bound in raw.split(",")]
    except ValueError:
        raise ValueError(
            f"{name}={raw!r}: expected seconds, separated by commas"
        ) from None
    return checked_buckets(bounds, name)


def checked_buckets(given: object, argument: str) -> tuple[float, ...]:
    """*given* as bounds of a histogram, without infinity, which is always there."""
    expected = "expected increasing numbers of seconds above 0"
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{argument}={given!r}: {expected}")
    bounds = tuple(given)
    for bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise TypeError(f"{argument}={given!r}: {expected}, {bound!r} is none")
    if bounds and bounds[-1] == math.inf:
        bounds = bounds[:-1]
    increasing = all(a < b for a, b in zip((0.0, *bounds), bounds, strict=False))
    if not bounds or not increasing or bounds[-1] == math.inf:
        raise ValueError(f"{argument}={given!r}: {expected}")
    if len(bounds) > _MOST_BUCKETS:
        raise ValueError(
            f"{argument} has {len(bounds)} bounds: expected at most {_MOST_BUCKETS}"
        )
    return tuple(float(bound) for bound in bounds)
