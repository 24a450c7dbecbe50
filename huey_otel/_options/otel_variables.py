"""Standard variables: which values OpenTelemetry's own parts accept.

They raise for any other value, some of them when they are imported. The
specification says that such a value is ignored with a warning, as if it were not set.
"""

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
LOGS: Final = "logs"

GRPC: Final = "otlp_proto_grpc"
HTTP: Final = "otlp_proto_http"

Instead = dict[str, str | None]
"""By name, what a variable is to be while OpenTelemetry reads it; None is unset."""

TRACER_PROVIDER: Final = "OTEL_PYTHON_TRACER_PROVIDER"
DETECTORS: Final = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
EXCEPTIONS: Final = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"
_RESOURCE_ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
_SAMPLER: Final = "OTEL_TRACES_SAMPLER"
_QUEUE: Final = "OTEL_BSP_MAX_QUEUE_SIZE"
_BATCH: Final = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_DEFAULT_SIZES: Final = {_QUEUE: 2_048, _BATCH: 512}
_LARGEST: Final = 2**31 - 1
"""What every queue and every wait of Python's takes."""


class _Rule(NamedTuple):
    """What a variable may be: *expected* says it to people.

    *test* returns whether a text is accepted, or raises ValueError if it is not.
    """

    expected: str
    test: Callable[[str], bool]

    def accepts(self, raw: str) -> bool:
        try:
            return self.test(raw)
        except ValueError:
            return False


def _whole(least: int) -> _Rule:
    return _Rule(
        f"expected a whole number from {least} to {_LARGEST}",
        lambda raw: least <= int(raw) <= _LARGEST,
    )


def _positive(unit: str) -> _Rule:
    return _Rule(
        f"expected a number of {unit} above 0", lambda raw: 0 < float(raw) <= _LARGEST
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


_BOOLEAN: Final = _one_of("true", "false")
_AS_LOGS: Final = "logs"
_SIGNALS: Final = _one_of(_AS_LOGS, "logs/dup")
_RATIO: Final = _Rule("expected a number from 0 to 1", lambda raw: 0 <= float(raw) <= 1)
_LIMITS: Final = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
)
_LIMITS_OF_LOGS: Final = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)
_OF_SDK: Final[Mapping[str, Mapping[str, _Rule]]] = {
    TRACES: {
        "OTEL_SDK_DISABLED": _BOOLEAN,
        "OTEL_BSP_SCHEDULE_DELAY": _whole(1),
        "OTEL_BSP_EXPORT_TIMEOUT": _whole(0),
        _QUEUE: _whole(1),
        _BATCH: _whole(1),
        **dict.fromkeys(_LIMITS, _whole(0)),
        _SAMPLER: _one_of(
            *("always_off", "always_on"),
            *("parentbased_always_off", "parentbased_always_on"),
            *("parentbased_traceidratio", "traceidratio"),
        ),
    },
    METRICS: {
        "OTEL_SDK_DISABLED": _BOOLEAN,
        "OTEL_METRIC_EXPORT_INTERVAL": _positive("milliseconds"),
        "OTEL_METRIC_EXPORT_TIMEOUT": _positive("milliseconds"),
        "OTEL_METRICS_EXEMPLAR_FILTER": _one_of(
            "always_off", "always_on", "trace_based"
        ),
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _one_of(
            "cumulative", "delta", "lowmemory"
        ),
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _one_of(
            "base2_exponential_bucket_histogram", "explicit_bucket_histogram"
        ),
    },
    LOGS: {
        "OTEL_SDK_DISABLED": _BOOLEAN,
        **dict.fromkeys(_LIMITS_OF_LOGS, _whole(0)),
    },
}
_OF_OTLP: Final[Mapping[str, Mapping[str, _Rule]]] = {
    GRPC: {
        "TIMEOUT": _positive("seconds"),
        "COMPRESSION": _one_of("gzip", "none"),
        "INSECURE": _BOOLEAN,
    },
    HTTP: {
        "TIMEOUT": _positive("seconds"),
        "COMPRESSION": _one_of("deflate", "gzip", "none"),
    },
}
_RETRYABLE: Final = {
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": _some(
        *("aborted", "already_exists", "cancelled", "data_loss", "deadline_exceeded"),
        *("failed_precondition", "internal", "invalid_argument", "not_found", "ok"),
        *("out_of_range", "permission_denied", "resource_exhausted"),
        *("unauthenticated", "unavailable", "unimplemented", "unknown"),
    )
}


def _header(form: str, name: str, value: str) -> _Rule:
    """A header whose name and value, decoded, match two patterns."""

    def accepts(item: str) -> bool:
        its_name, equals, its_value = item.partition("=")
        known = re.fullmatch(name, unquote(its_name).strip(), re.ASCII)
        return bool(equals and known and re.fullmatch(value, unquote(its_value)))

    return _Rule(f"expected {form}", accepts)


_HEADERS: Final = {
    GRPC: _header(
        "name=value as gRPC takes it, with the value URL-encoded",
        # The value of a name in -bin would be bytes, which no variable has.
        r"(?i:(?!.*-bin$)(?!grpc-)[.0-9a-z_-]+)",
        r"[ -~]*",
    ),
    HTTP: _header(
        "name=value with the value URL-encoded",
        r"[!#-'*+.0-9A-Z^-z|~-]+",
        r"[\t -~]*",
    ),
}
_ATTRIBUTE: Final = _Rule("expected key=value", lambda item: "=" in item)


def exceptions_on_spans(
    env: Mapping[str, str], warnings: list[str], *, with_logs: bool
) -> bool:
    """Whether the span of an attempt has its exception, by the variable for that.

    *with_logs* if events, and the exceptions in them, go out as log records.
    """
    raw = env.get(EXCEPTIONS)
    if raw is None:
        return True
    if not _SIGNALS.accepts(raw):
        said = f"{EXCEPTIONS}={shown(raw)}: {_SIGNALS.expected}; ignored"
        warnings.append(said)
    elif not with_logs:
        warnings.append(
            f"{EXCEPTIONS}={shown(raw)} has no effect without HUEY_OTEL_EVENTS=otlp,"
            " by which exceptions become log records"
        )
    else:
        return raw.strip().lower() != _AS_LOGS
    return True


def of_otlp(what: str, signal: str) -> tuple[str, str]:
    """The two variables that say *what* of OTLP, that of *signal* first."""
    return (
        f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}",
        f"OTEL_EXPORTER_OTLP_{what}",
    )


def set_of_otlp(env: Mapping[str, str], what: str, signal: str) -> tuple[str, str]:
    """The variable that says *what* of OTLP for *signal*, and its value; else ""."""
    for name in of_otlp(what, signal):
        if env.get(name):
            return name, env[name].strip()
    return "", ""


class Checked:
    """What is wrong in *env* for *signal* and its *exporters*, as in `Export`.

    Without *exporters* only what the API itself reads is checked. `ignored` quotes no
    headers and no passwords.
    """

    def __init__(
        self, env: Mapping[str, str], signal: str, exporters: Sequence[str]
    ) -> None:
        self._env = env
        self.ignored: list[str] = []
        self.instead: Instead = {}
        self.timeout: float | None = None
        kinds = ("tracer", "meter", "logger") if signal == LOGS else ("tracer", "meter")
        for kind in kinds:
            # The API looks for it whenever it is asked for a provider and has none.
            variable = f"OTEL_PYTHON_{kind.upper()}_PROVIDER"
            self._entry_points(variable, f"opentelemetry_{kind}_provider")
        if not exporters:
            return
        self._items(_RESOURCE_ATTRIBUTES, _ATTRIBUTE)
        self._entry_points(DETECTORS, "opentelemetry_resource_detector", "*")
        self._each(_OF_SDK[signal])
        if signal == TRACES:
            self._batch()
            if env.get(_SAMPLER, "").strip().lower().endswith("ratio"):
                self._each({f"{_SAMPLER}_ARG": _RATIO})
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
        """A batch must not be larger than the queue, also if only one is set."""
        given = {
            name: int(self._env[name])
            for name in _DEFAULT_SIZES
            if name in self._env and name not in self.instead
        }
        sizes = {**_DEFAULT_SIZES, **given}
        if sizes[_BATCH] <= sizes[_QUEUE]:
            return
        if _BATCH in given:
            self.ignored.append(
                f"{_BATCH}={self._env[_BATCH]!r}: expected at most the size of the"
                f" queue, {_QUEUE}, which is {sizes[_QUEUE]}"
            )
        self.instead[_BATCH] = str(sizes[_QUEUE])

    def _entry_points(self, name: str, group: str, *more: str) -> None:
        """Accept only names of entry points of *group*, and *more*."""
        if self._env.get(name):
            wrong = some_of(name, self._env[name], {*more, *names(group)})
            if wrong is not None:
                self._refuse(name, *wrong)

    def _items(self, name: str, rule: _Rule) -> None:
        """Leave out wrong items; the warning names their places and no contents."""
        given = (self.instead.get(name, self._env.get(name)) or "").split(",")
        items = {place: item for place, item in enumerate(given, 1) if item.strip()}
        good = {place: item for place, item in items.items() if rule.accepts(item)}
        if len(good) < len(items):
            wrong = ", ".join(str(place) for place in items if place not in good)
            why = f"{name}, item {wrong}: {rule.expected}, separated by commas"
            self._refuse(name, why, ",".join(good.values()) or None)

    def _otlp(self, signal: str, exporter: str) -> None:
        for what, rule in _OF_OTLP[exporter].items():
            self._each(dict.fromkeys(of_otlp(what, signal), rule))
        for name in of_otlp("HEADERS", signal):
            self._items(name, _HEADERS[exporter])
        # As an argument: the exporters of 1.30 read only whole seconds.
        for name in reversed(of_otlp("TIMEOUT", signal)):
            if name in self._env and name not in self.instead:
                self.timeout = float(self._env[name])
                self.instead[name] = None
        if exporter == GRPC:
            self._each(_RETRYABLE)
            for name in of_otlp("COMPRESSION", signal):
                if self._env.get(name, "").strip().lower() == "none":
                    # The specification has this word, and the exporter raises for it.
                    self.instead[name] = None


def some_of(name: str, raw: str, known: set[str]) -> tuple[str, str | None] | None:
    """What is wrong with the list *raw*, and what is left of it; None if nothing is."""
    given = words(raw)
    wrong = [one for one in given if one not in known]
    if not wrong:
        return None
    accepted = ", ".join(sorted(known))
    kept = ",".join(one for one in given if one in known)
    why = f"{name}={shown(','.join(wrong))}: expected some of {accepted}"
    return why, kept or None


def words(raw: str) -> tuple[str, ...]:
    """The items of a list that is separated by commas."""
    return tuple(word.strip() for word in raw.split(",") if word.strip())


def names(group: str) -> set[str]:
    """The names of the entry points of *group*."""
    return {point.name for point in entry_points(group=group)}


def attributes_in(env: Mapping[str, str]) -> frozenset[str]:
    """The names of the resource's attributes that the environment sets."""
    pairs = env.get(_RESOURCE_ATTRIBUTES, "").split(",")
    found = {pair.partition("=")[0].strip() for pair in pairs if "=" in pair}
    if env.get("OTEL_SERVICE_NAME"):
        found.add(n.SERVICE_NAME)
    return frozenset(found)


def blank() -> Instead:
    """The standard variables that are set to nothing, which counts as unset.

    Some of OpenTelemetry's parts raise for them.
    """
    return {
        name: None
        for name, value in os.environ.items()
        if name.startswith("OTEL_") and not value.strip()
    }


class _Environment:
    """The values that variables had before `replaced` set others."""

    def __init__(self) -> None:
        self.before: list[Instead] = []
        self.lock = threading.RLock()
        in_child(self._renew)

    def _renew(self) -> None:
        # The thread that would put them back may not be in the child.
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
