"""Values: what an argument or the text of a variable means, and what is accepted."""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final, NamedTuple

from huey_otel._safety import encodable
from huey_otel._safety.redaction import shown

ON: Final = ("on", "yes", "true", "1")
OFF: Final = ("off", "no", "false", "0", "none")
"""The words that mean on and off, for every option that can be either."""

_HIGHEST_PORT: Final = 65_535
_LONGEST: Final = 1e9
"""Seconds; Python's own waits raise OverflowError for some nine times as many."""

_MOST_BUCKETS: Final = 100


class Kind(NamedTuple):
    """One kind of value.

    `accepted` follows "expected" in an error. `check` turns an argument into a setting,
    and raises TypeError for a wrong type or ValueError for a wrong value, perhaps with
    a reason. `read` turns the text of a variable into an argument, or raises
    ValueError. `is_text` is False where no text can mean the value.
    """

    accepted: str
    check: Callable[[Any], Any]
    read: Callable[[str], Any] = str
    is_text: bool = True

    def checked(self, value: object, called: str) -> Any:
        """The setting that *value* means; TypeError or ValueError that say *called*."""
        try:
            return self.check(value)
        except (TypeError, ValueError) as error:
            reason = f"; {error}" if str(error) else ""
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{called}: expected {self.accepted}{reason}") from None

    def meant(self, text: str, called: str) -> Any:
        """The setting that *text*, of a variable, means; ValueError says *called*."""
        try:
            value = self.read(text)
        except ValueError:
            raise ValueError(f"{called}: expected {self.accepted}") from None
        try:
            return self.checked(value, called)
        except TypeError as error:
            raise ValueError(str(error)) from None


def word(value: object) -> bool | None:
    """True or False where *value* is one or says on or off, None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        said = value.strip().lower()
        if said in ON:
            return True
        if said in OFF:
            return False
    return None


def _flag(value: object) -> bool:
    meant = word(value)
    if meant is None:
        raise ValueError if isinstance(value, str) else TypeError
    return meant


FLAG: Final = Kind(
    accepted=f"True or False, or one of {', '.join((*ON, *OFF))}", check=_flag
)


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not 0 <= value <= _LONGEST:
        raise ValueError
    return float(value)


SECONDS: Final = Kind(
    accepted=f"a number of seconds from 0 to {_LONGEST:,.0f}",
    check=_seconds,
    read=float,
)


def interval(default: float, longest: float) -> Kind:
    """Seconds from one to the next, None for never; *default* is what "on" means."""

    def check(value: object) -> float | None:
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            if 1 <= value <= longest:
                return float(value)
            raise ValueError
        said = word(value)
        if said is None:
            raise ValueError if isinstance(value, str) else TypeError
        return default if said else None

    def read(text: str) -> float | str:
        # Here 1 is a number of seconds and does not mean on.
        if word(text) is not None and text.strip() != "1":
            return text
        return float(text)

    return Kind(
        accepted=f"off (None), on (each {default:g} s), or a number of seconds from 1"
        f" to {longest:g}",
        check=check,
        read=read,
    )


def choice(*accepted: str, call: str = "") -> Kind:
    """One of *accepted*; or a callable, which *call* describes, if it is not empty."""

    def check(value: Any) -> Any:
        if call and callable(value) and not isinstance(value, type):
            return value
        if not isinstance(value, str):
            raise TypeError
        said = value.strip().lower()
        if said not in accepted:
            raise ValueError
        return said

    also = f", or {call}" if call else ""
    return Kind(accepted=f"one of {', '.join(accepted)}{also}", check=check)


def _channel_name(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not value:
        raise ValueError
    if encodable.text(value) != value:
        raise ValueError("this is no UTF-8")
    return value


CHANNEL_NAME: Final = Kind(
    accepted="the name of a channel, a str that is not empty", check=_channel_name
)
QUEUE_NAME: Final = Kind(
    accepted="the name of a queue, a str that is not empty", check=_channel_name
)
CHANNEL: Final = Kind(
    accepted=f"{CHANNEL_NAME.accepted}, or None for the name of the queue",
    check=lambda value: None if value is None else _channel_name(value),
)


STREAM_ENTRIES: Final = 10_000
_FEWEST_ENTRIES: Final = 100
"""Redis trims a stream by whole nodes, which have as many entries by default."""

_MOST_ENTRIES: Final = 1_000_000_000


class Stream(NamedTuple):
    """How many entries a stream keeps, and under which key, None for the usual one."""

    entries: int = STREAM_ENTRIES
    key: str | None = None


def _stream(value: object) -> Stream | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if not _FEWEST_ENTRIES <= value <= _MOST_ENTRIES:
            raise ValueError
        return Stream(entries=value)
    said = word(value)
    if said is not None:
        return Stream() if said else None
    key = _channel_name(value)
    # What begins like a number is a mistake, such as 10k or 1e6.
    if key.strip() != key or key[0] in "+-0123456789":
        raise ValueError
    return Stream(key=key)


def _read_stream(text: str) -> int | str:
    text = text.strip()
    # Here 0 and 1 mean off and on.
    is_number = text.isascii() and text.isdecimal() and text not in (*ON, *OFF)
    return int(text) if is_number else text


STREAM: Final = Kind(
    accepted=f"off (None), on ({STREAM_ENTRIES:,} entries), a number of entries from"
    f" {_FEWEST_ENTRIES} to {_MOST_ENTRIES:,}, or a key of Redis that does not begin"
    " with a digit",
    check=_stream,
    read=_read_stream,
)


def _host(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    host = value.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    # With one colon it is a host and a port; an IPv6 address has more.
    if not host or re.search(r"[\s/\[\]]", host) or host.count(":") == 1:
        raise ValueError
    return host


HOST: Final = Kind(
    accepted="a host name or an address to listen on, without a port", check=_host
)


def port(default: int) -> Kind:
    """A port to listen on, None for none; *default* is what "on" means."""

    def check(value: object) -> int | None:
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool):
            if 0 <= value <= _HIGHEST_PORT:
                return value
            raise ValueError
        said = word(value)
        if said is None or value in ("0", "1"):
            raise ValueError if isinstance(value, str) else TypeError
        return default if said else None

    def read(text: str) -> int | str:
        # Here 0 and 1 are ports and do not mean off and on.
        text = text.strip()
        return int(text) if text.isascii() and text.isdecimal() else text

    return Kind(
        accepted=f"a port from 0 (a free one) to {_HIGHEST_PORT},"
        " or off (None) for no metrics page",
        check=check,
        read=read,
    )


def _buckets(value: object) -> tuple[float, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError
    given = tuple(value)
    for bound in given:
        if isinstance(bound, bool) or not isinstance(bound, int | float):
            raise TypeError(f"{shown(bound)} is no number")
    # Two whole numbers may be one float.
    bounds = tuple(float(bound) if bound <= _LONGEST else math.inf for bound in given)
    if bounds and bounds[-1] == math.inf:
        # Infinity is always there.
        bounds = bounds[:-1]
    increasing = all(a < b for a, b in zip((0.0, *bounds), bounds, strict=False))
    if not bounds or not increasing or bounds[-1] == math.inf:
        raise ValueError
    if len(bounds) > _MOST_BUCKETS:
        raise ValueError(f"these are {len(bounds)}")
    return bounds


BUCKETS: Final = Kind(
    accepted=f"increasing numbers of seconds above 0, at most {_MOST_BUCKETS}",
    check=_buckets,
    read=lambda text: [float(bound) for bound in text.split(",")],
)


_LOGS: Final = "otlp"
_REDIS: Final = "redis"


@dataclass(frozen=True)
class WithLogs:
    """Events go out as OTLP log records as well as to *redis*: False for nowhere."""

    redis: Any

    def __repr__(self) -> str:
        if self.redis is False:
            return repr(_LOGS)
        where = _REDIS if self.redis is True else self.redis
        return repr(f"{where},{_LOGS}")


def _destinations(value: Any) -> Any:
    """As `_destination`, in a WithLogs where the text *value* has `otlp` in it."""
    parts = (
        [part.strip() for part in value.split(",")] if isinstance(value, str) else []
    )
    words = [part.lower() for part in parts]
    if _LOGS not in words or len(parts) > 2:
        return _destination(value)
    parts.pop(words.index(_LOGS))
    if not parts:
        return WithLogs(redis=False)
    (other,) = parts
    if other.lower() == _REDIS:
        return WithLogs(redis=True)
    if "://" not in other:
        raise ValueError
    return WithLogs(redis=_destination(other))


def _destination(value: Any) -> Any:
    """False for nowhere, True for the queue's own Redis, a URL, or an object."""
    said = word(value)
    if said is not None:
        return said
    if value is None:
        return False
    if isinstance(value, str):
        if "://" not in value:
            raise ValueError
        scheme, separator, rest = value.strip().partition("://")
        return f"{scheme.lower()}{separator}{rest}"
    return value


EVENTS: Final = Kind(
    accepted="off (None), on (the Redis of the queue), a Redis URL such as"
    " redis://localhost:6379/0, otlp (as log records), redis,otlp or a URL,otlp (both),"
    " or a RedisEventEmitter",
    check=_destinations,
)


def instance(accepted: str, *methods: str) -> Kind:
    """An object with *methods*, or None; no class and no module."""

    def check(value: Any) -> Any:
        if value is None:
            return None
        if isinstance(value, type):
            raise TypeError("this is the class, not an instance")
        known = all(callable(getattr(value, method, None)) for method in methods)
        if not known or isinstance(value, ModuleType):
            raise TypeError
        return value

    return Kind(accepted=accepted, check=check, is_text=False)
