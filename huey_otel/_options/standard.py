"""Standard variables: which values OpenTelemetry's own parts accept.

They raise for any other value, some of them when they are imported. The
specification says that such a value is ignored with a warning, as if it were not set.
"""

import math
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Final, NamedTuple
from urllib.parse import unquote

from huey_otel import _names as n
from huey_otel._safety.forks import in_child
from huey_otel._safety.redaction import shown

TRACES: Final = "traces"
METRICS: Final = "metrics"

GRPC: Final = "otlp_proto_grpc"
HTTP: Final = "otlp_proto_http"

Instead = dict[str, str | None]
"""By name, what a variable is to be while OpenTelemetry reads it; None is unset."""

TRACER_PROVIDER: Final = "OTEL_PYTHON_TRACER_PROVIDER"
DETECTORS: Final = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
_LARGEST: Final = 2**31 - 1
"""What every queue and every wait of Python's takes."""

_QUEUE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
_BATCH: Final = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_DEFAULT_QUEUE: Final = 2_048
_DEFAULT_BATCH: Final = 512
_SAMPLERS: Final = (
    "always_off",
    "always_on",
    "parentbased_always_off",
    "parentbased_always_on",
    "parentbased_traceidratio",
    "traceidratio",
)


class _Header(NamedTuple):
    """What name and value of a header may be, decoded; *form* says it to people."""

    form: str
    name: re.Pattern[str]
    value: re.Pattern[str]

    def accepts(self, item: str) -> bool:
        name, equals, value = item.partition("=")
        known = self.name.fullmatch(unquote(name).strip())
        return bool(equals and known and self.value.fullmatch(unquote(value)))


_HEADERS: Final = {
    GRPC: _Header(
        "name=value as gRPC takes it, with the value URL-encoded",
        # The value of a name in -bin would be bytes, which no variable has.
        re.compile(r"(?!.*-bin$)(?!grpc-)[.0-9a-z_-]+", re.IGNORECASE | re.ASCII),
        re.compile(r"[ -~]*"),
    ),
    HTTP: _Header(
        "name=value with the value URL-encoded",
        re.compile(r"[!#-'*+.0-9A-Z^-z|~-]+"),
        re.compile(r"[\t -~]*"),
    ),
}


class _Rule(NamedTuple):
    """What a variable may be: *accepts* says whether, *expected* says it to people."""

    expected: str
    accepts: Callable[[str], bool]


def _whole(least: int) -> _Rule:
    def accepts(raw: str) -> bool:
        try:
            return least <= int(raw) <= _LARGEST
        except ValueError:
            return False

    return _Rule(f"expected a whole number from {least} to {_LARGEST}", accepts)


def _number(raw: str) -> float:
    try:
        return float(raw)
    except ValueError:
        return math.nan


def _positive(unit: str) -> _Rule:
    return _Rule(
        f"expected a number of {unit} above 0", lambda raw: 0 < _number(raw) <= _LARGEST
    )


def _one_of(*accepted: str) -> _Rule:
    return _Rule(
        f"expected one of {', '.join(accepted)}",
        lambda raw: raw.strip().lower() in accepted,
    )


def _some(*accepted: str) -> _Rule:
    return _Rule(
        f"expected some of {', '.join(accepted)}",
        lambda raw: all(
            one.strip().lower() in ("", *accepted) for one in raw.split(",")
        ),
    )


_COUNT: Final = _whole(0)
_BOOLEAN: Final = _one_of("true", "false")
_SECONDS: Final = _positive("seconds")
_MILLISECONDS: Final = _positive("milliseconds")

_OF_SPANS: Final[Mapping[str, _Rule]] = {
    "OTEL_BSP_SCHEDULE_DELAY": _whole(1),
    "OTEL_BSP_EXPORT_TIMEOUT": _whole(0),
    _QUEUE: _whole(1),
    _BATCH: _whole(1),
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _COUNT,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _COUNT,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _COUNT,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _COUNT,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _COUNT,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _COUNT,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _COUNT,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _COUNT,
    "OTEL_TRACES_SAMPLER": _one_of(*_SAMPLERS),
}
_RATIO: Final = _Rule(
    "expected a number from 0 to 1", lambda raw: 0 <= _number(raw) <= 1
)
_OF_METRICS: Final[Mapping[str, _Rule]] = {
    "OTEL_METRIC_EXPORT_INTERVAL": _MILLISECONDS,
    "OTEL_METRIC_EXPORT_TIMEOUT": _MILLISECONDS,
    "OTEL_METRICS_EXEMPLAR_FILTER": _one_of("always_off", "always_on", "trace_based"),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _one_of(
        "cumulative", "delta", "lowmemory"
    ),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _one_of(
        "base2_exponential_bucket_histogram", "explicit_bucket_histogram"
    ),
}
_RETRYABLE: Final = "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES"
_STATUS_CODES: Final = _some(
    *("aborted", "already_exists", "cancelled", "data_loss", "deadline_exceeded"),
    *("failed_precondition", "internal", "invalid_argument", "not_found", "ok"),
    *("out_of_range", "permission_denied", "resource_exhausted", "unauthenticated"),
    *("unavailable", "unimplemented", "unknown"),
)
_FILES: Final = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
_COMPRESSIONS: Final = {
    GRPC: _one_of("gzip", "none"),
    HTTP: _one_of("deflate", "gzip", "none"),
}


def of_otlp(what: str, signal: str) -> tuple[str, str]:
    """The two variables that say *what* of OTLP, that of *signal* first."""
    return (
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}",
        f"OTEL_EXPORTER_OTLP_{what}",
    )


class Checked:
    """What is wrong in *env* for *signal* and its *exporters*.

    Without *exporters* only what the API itself reads. `ignored` says it to people,
    without headers or passwords, `instead` to OpenTelemetry. `timeout`
    is that of OTLP in seconds, None for its default.
    """

    def __init__(
        self, env: Mapping[str, str], signal: str, exporters: Sequence[str]
    ) -> None:
        self._env = env
        self.ignored: list[str] = []
        self.instead: Instead = {}
        self.timeout: float | None = None
        self._providers()
        if not exporters:
            return
        self._resource()
        self._each({"OTEL_SDK_DISABLED": _BOOLEAN})
        self._each(_OF_SPANS if signal == TRACES else _OF_METRICS)
        if signal == TRACES:
            self._batch()
            if env.get("OTEL_TRACES_SAMPLER", "").strip().lower().endswith("ratio"):
                self._each({"OTEL_TRACES_SAMPLER_ARG": _RATIO})
        for exporter in {GRPC, HTTP}.intersection(exporters):
            self._otlp(signal, exporter)

    def _each(self, rules: Mapping[str, _Rule]) -> None:
        for name, rule in rules.items():
            raw = self._env.get(name)
            if raw is not None and not rule.accepts(raw):
                self._refuse(name, f"{name}={shown(raw)}: {rule.expected}")

    def _refuse(self, name: str, why: str, instead: str | None = None) -> None:
        self.ignored.append(why)
        self.instead[name] = instead

    def _batch(self) -> None:
        """A batch is no larger than the queue, also where only one of them is set."""
        size = self._valid(_QUEUE, _DEFAULT_QUEUE)
        batch = self._valid(_BATCH, _DEFAULT_BATCH)
        if batch <= size:
            return
        if _BATCH in self._env and _BATCH not in self.instead:
            self.ignored.append(
                f"{_BATCH}={self._env[_BATCH]!r}: expected at most the size of the"
                f" queue, {_QUEUE}, which is {size}"
            )
        self.instead[_BATCH] = str(size)

    def _valid(self, name: str, default: int) -> int:
        known = name in self._env and name not in self.instead
        return int(self._env[name]) if known else default

    def _resource(self) -> None:
        name = "OTEL_RESOURCE_ATTRIBUTES"
        self._items(name, "key=value", lambda item: "=" in item)
        self._named(DETECTORS, "opentelemetry_resource_detector", "*")

    def _providers(self) -> None:
        for signal in ("tracer", "meter"):
            # The API looks for it whenever it is asked for one and has none.
            name = f"OTEL_PYTHON_{signal.upper()}_PROVIDER"
            self._named(name, f"opentelemetry_{signal}_provider")

    def _named(self, name: str, group: str, *more: str) -> None:
        """Only what entry points of *group* name, or *more*."""
        if self._env.get(name):
            wrong = some_of(name, self._env[name], {*more, *names(group)})
            if wrong is not None:
                self._refuse(name, *wrong)

    def _items(self, name: str, form: str, accepts: Callable[[str], bool]) -> None:
        """Without the wrong ones; says which, and nothing of what is in them."""
        items = (self.instead.get(name, self._env.get(name)) or "").split(",")
        wrong = [
            str(place)
            for place, item in enumerate(items, 1)
            if item.strip() and not accepts(item)
        ]
        if wrong:
            kept = ",".join(item for item in items if item.strip() and accepts(item))
            why = (
                f"{name}, item {', '.join(wrong)}: expected {form}, separated by commas"
            )
            self._refuse(name, why, kept or None)

    def _otlp(self, signal: str, exporter: str) -> None:
        rules = {"TIMEOUT": _SECONDS, "COMPRESSION": _COMPRESSIONS[exporter]}
        if exporter == GRPC:
            rules["INSECURE"] = _BOOLEAN
            self._each({_RETRYABLE: _STATUS_CODES})
        for what, rule in rules.items():
            self._each(dict.fromkeys(of_otlp(what, signal), rule))
        header = _HEADERS[exporter]
        for name in of_otlp("HEADERS", signal):
            self._items(name, header.form, header.accepts)
        self._timeout(signal)
        if exporter == GRPC:
            for name in of_otlp("COMPRESSION", signal):
                if self._env.get(name, "").strip().lower() == "none":
                    # What the specification has for it, the exporter raises for.
                    self.instead[name] = None

    def _timeout(self, signal: str) -> None:
        """Hand OTLP's timeout to the exporter as an argument.

        opentelemetry-exporter-otlp 1.30 reads only whole seconds from the variable.
        """
        for name in reversed(of_otlp("TIMEOUT", signal)):
            if name in self._env and name not in self.instead:
                self.timeout = float(self._env[name])
                self.instead[name] = None


def some_of(name: str, raw: str, known: set[str]) -> tuple[str, str | None] | None:
    """What is wrong with the list *raw*, and what is left of it; None if nothing is."""
    given = [one.strip() for one in raw.split(",") if one.strip()]
    wrong = [one for one in given if one not in known]
    if not wrong:
        return None
    accepted = ", ".join(sorted(known))
    kept = ",".join(one for one in given if one in known)
    why = f"{name}={shown(','.join(wrong))}: expected some of {accepted}"
    return why, kept or None


def names(group: str) -> set[str]:
    """The names of the entry points of *group*."""
    return {point.name for point in entry_points(group=group)}


def attributes_in(env: Mapping[str, str]) -> frozenset[str]:
    """What the environment says of the resource, by name."""
    pairs = env.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
    said = {pair.partition("=")[0].strip() for pair in pairs if "=" in pair}
    if env.get("OTEL_SERVICE_NAME"):
        said.add(n.SERVICE_NAME)
    return frozenset(said)


def files(env: Mapping[str, str], signal: str) -> tuple[tuple[str, str], ...]:
    """The files for TLS that OTLP's exporters of *signal* read, by their variables."""
    found = []
    for what in _FILES:
        for name in of_otlp(what, signal):
            if env.get(name):
                found.append((name, env[name]))
                break
    return tuple(found)


def halves(
    env: Mapping[str, str], signal: str, exporters: Sequence[str]
) -> dict[str, str]:
    """By variable, why a certificate or a key of a client is of no use alone.

    gRPC ends the process for it (grpcio 1.85), where it is given a certificate of
    the server's as well. What HTTP has in its certificate may have a key in it.
    """
    certificates, keys, pairs = (
        of_otlp(what, signal)
        for what in ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
    )
    why = {}
    if GRPC in exporters:
        for certificate, *pair in zip(certificates, keys, pairs, strict=True):
            given = [name for name in pair if env.get(name)]
            if env.get(certificate) and len(given) == 1:
                (other,) = set(pair).difference(given)
                why[given[0]] = f"{given[0]}: expected {other} with it"
    if HTTP in exporters and not any(env.get(name) for name in pairs):
        for key, other in zip(keys, pairs, strict=True):
            if env.get(key):
                why[key] = f"{key}: expected {other} with it"
    return why


def blank() -> Instead:
    """The standard variables that are set to nothing, to be unset instead.

    The specification says that they are as if unset; some of OpenTelemetry's parts
    raise for them.
    """
    return {
        name: None
        for name, value in os.environ.items()
        if name.startswith("OTEL_") and not value.strip()
    }


def unreadable(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Which of those files are not to be read, and why, by variable."""
    return {
        name: f"{name}={path!r}: expected a file that can be read"
        for name, path in given
        if not os.access(path, os.R_OK)
    }


class _Environment:
    """Held while variables are not what they are; `before` is what they are."""

    def __init__(self) -> None:
        self.before: list[Instead] = []
        self.lock = threading.RLock()
        in_child(self._renew)

    def _renew(self) -> None:
        # The thread that would put them back may be none of the child's.
        for before in reversed(self.before):
            _set(before)
        self.before.clear()
        self.lock = threading.RLock()


_ENVIRONMENT: Final = _Environment()


@contextmanager
def replaced(instead: Mapping[str, str | None]) -> Iterator[None]:
    """Let OpenTelemetry read *instead* of what is set."""
    if not instead:
        yield
        return
    with _ENVIRONMENT.lock:
        before = {name: os.environ.get(name) for name in instead}
        _ENVIRONMENT.before.append(before)
        _set(instead)
        try:
            yield
        finally:
            _set(before)
            if before in _ENVIRONMENT.before:
                _ENVIRONMENT.before.remove(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
