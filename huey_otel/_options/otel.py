"""Where spans go, by the variables that only `opentelemetry-instrument` reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from huey_otel import _names as n
from huey_otel._options.standard import (
    DETECTORS,
    GRPC,
    HTTP,
    TRACES,
    Checked,
    Instead,
    attributes_in,
    blank,
    files,
    halves,
    of_otlp,
    unreadable,
)
from huey_otel._safety import encodable
from huey_otel._safety.redaction import shown

EXPORTERS: Final = "opentelemetry_traces_exporter"
"""The group of entry points that names what makes exporters of spans."""
ID_GENERATORS: Final = "opentelemetry_id_generator"
_ID_GENERATOR: Final = "OTEL_PYTHON_ID_GENERATOR"
CREDENTIALS: Final = "opentelemetry_otlp_credential_provider"
_CREDENTIALS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)

_OTLP: Final = "otlp"
_CONSOLE: Final = "console"
_NONE: Final = "none"
_PROTOCOLS: Final = {"grpc": GRPC, "http/protobuf": HTTP}
_SPOKEN: Final = {GRPC: "OTLP/gRPC", HTTP: "OTLP/HTTP", _CONSOLE: "the console"}
_ALWAYS: Final = (GRPC, HTTP, _CONSOLE)
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What the environment says of where spans go, or metrics.

    `exporters` are names of OpenTelemetry's entry points, `endpoint` is OTLP's,
    `why_none` says to people why there are none. `ignored` are values that cannot be
    used: a warning, once they would have been of use, as the specification
    says. Others may know them. `instead` is what OpenTelemetry is to read there.
    `files` are those for TLS, by variable; `tls` whether they are needed; `halves`
    are those of a pair that has no other half, and why that is wrong. `timeout` is
    OTLP's in seconds, None for its default.
    `attributes` names what is said of the resource, `detectors` what finds more.
    `id_generator` and `credentials` name entry points, empty for what there is
    without.
    """

    disabled: bool = False
    exporters: tuple[str, ...] = ()
    endpoint: str = ""
    why_none: str = ""
    ignored: tuple[str, ...] = ()
    instead: Instead = field(default_factory=dict)
    files: tuple[tuple[str, str], ...] = ()
    tls: bool = False
    halves: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    attributes: frozenset[str] = frozenset()
    detectors: tuple[str, ...] = ()
    id_generator: str = ""
    credentials: str = ""

    def resource(self, queue: str) -> dict[str, str]:
        """Attributes of a resource: the service is *queue*, unless it was given."""
        return {} if n.SERVICE_NAME in self.attributes else {n.SERVICE_NAME: queue}

    def unread(self) -> dict[str, str]:
        """Why files for TLS cannot be used now, by variable; none without OTLP."""
        if {GRPC, HTTP}.isdisjoint(self.exporters):
            return {}
        return {**unreadable(self.files), **self.halves}

    def asked(self, exporter: str) -> dict[str, Any]:
        """What to call the entry point *exporter* with."""
        if self.timeout is None or exporter not in (GRPC, HTTP):
            return {}
        return {"timeout": self.timeout}

    @property
    def where(self) -> str:
        """Where they deliver, for people."""
        return self.over(self.exporters)

    def over(self, exporters: Sequence[str]) -> str:
        """Where *exporters* deliver, for people."""
        spoken = [_SPOKEN.get(name, name) for name in exporters]
        over = f"over {', '.join(spoken)}"
        if {GRPC, HTTP}.isdisjoint(exporters):
            return over
        default = f"localhost:{_GRPC_PORT if GRPC in exporters else _HTTP_PORT}"
        place = encodable.text(
            _split(self.endpoint or default).netloc.rpartition("@")[2]
        )
        return f"{over} to {place}" if place else over


def group_of(signal: str) -> str:
    """The group of entry points that names what makes exporters of *signal*."""
    return f"opentelemetry_{signal}_exporter"


def read_export(env: Mapping[str, str], signal: str = TRACES) -> Export:
    """Read the variables as the OpenTelemetry specification says."""
    endpoint_of, endpoint = _endpoint(env, signal)
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    raw = encodable.text(env.get(variable, "").strip()) or (_OTLP if endpoint else "")
    names = [name.strip() for name in raw.split(",") if name.strip()]
    disabled = env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    ignored: list[str] = []
    exporters: tuple[str, ...] = ()
    if not disabled:
        exporters = _exporters(names, env, endpoint_of, endpoint, ignored, signal)
    why_none = ignored[0] if ignored else ""
    if not why_none:
        why_none = (
            f"{variable}={raw}" if raw else "OTEL_EXPORTER_OTLP_ENDPOINT is not set"
        )
    id_generator = ""
    if exporters:
        id_generator = _id_generator(env, ignored)
    checked = Checked(env, signal, exporters)
    ignored += checked.ignored
    instead = blank() | checked.instead
    credentials = [env.get(name, "").strip() for name in _CREDENTIALS]
    detectors = instead.get(DETECTORS, env.get(DETECTORS)) or ""
    return Export(
        disabled=disabled,
        exporters=exporters,
        endpoint=endpoint,
        why_none=why_none,
        id_generator=id_generator,
        ignored=tuple(ignored),
        instead=instead,
        files=files(env, signal),
        tls=_is_secure(env, signal, exporters, endpoint),
        halves=halves(env, signal, exporters),
        timeout=checked.timeout,
        credentials=next(filter(None, credentials), ""),
        attributes=attributes_in(env),
        detectors=tuple(filter(None, map(str.strip, detectors.split(",")))),
    )


def _endpoint(env: Mapping[str, str], signal: str) -> tuple[str, str]:
    for name in of_otlp("ENDPOINT", signal):
        if env.get(name):
            return name, env[name].strip()
    return "", ""


def _is_secure(
    env: Mapping[str, str], signal: str, exporters: Sequence[str], endpoint: str
) -> bool:
    """Whether the exporter of OTLP speaks TLS."""
    scheme, separator, _ = endpoint.partition("://")
    if separator and scheme.lower() in ("http", "https"):
        return scheme.lower() == "https"
    said = [env.get(name, "") for name in of_otlp("INSECURE", signal)]
    insecure = next(filter(None, said), "")
    return bool(endpoint) and GRPC in exporters and insecure.lower() != "true"


def _exporters(
    names: list[str],
    env: Mapping[str, str],
    endpoint_of: str,
    endpoint: str,
    ignored: list[str],
    signal: str,
) -> tuple[str, ...]:
    chosen: list[str] = []
    group = group_of(signal)
    for name in names:
        if name == _NONE:
            continue
        found = _protocol(env, endpoint, ignored, signal) if name == _OTLP else name
        if found not in _ALWAYS and not entry_points(group=group, name=found):
            known = {point.name for point in entry_points(group=group)}
            accepted = ", ".join(sorted({*known, _NONE}))
            ignored.append(
                f"OTEL_{signal.upper()}_EXPORTER={name!r}: expected some of {accepted}"
            )
        elif endpoint and not _is_endpoint(found, endpoint):
            ignored.append(
                f"{endpoint_of}={shown(endpoint)}: expected a URL, such as"
                f" http://localhost:{_GRPC_PORT if found == GRPC else _HTTP_PORT}"
            )
        elif found not in chosen:
            chosen.append(found)
    return tuple(chosen)


def _protocol(
    env: Mapping[str, str], endpoint: str, ignored: list[str], signal: str
) -> str:
    """The entry point for OTLP: as named, else gRPC for its port, else HTTP."""
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    for name in (own, "OTEL_EXPORTER_OTLP_PROTOCOL"):
        raw = env.get(name, "").strip()
        if raw in _PROTOCOLS:
            return _PROTOCOLS[raw]
        if raw:
            accepted = ", ".join(_PROTOCOLS)
            ignored.append(f"{name}={raw!r}: expected one of {accepted}")
    return GRPC if _port(_split(endpoint)) == _GRPC_PORT else HTTP


def _id_generator(env: Mapping[str, str], ignored: list[str]) -> str:
    raw = env.get(_ID_GENERATOR, "").strip()
    if raw and not entry_points(group=ID_GENERATORS, name=raw):
        accepted = ", ".join(sorted(entry_points(group=ID_GENERATORS).names))
        ignored.append(f"{_ID_GENERATOR}={raw!r}: expected one of {accepted}")
        return ""
    return raw


def _is_endpoint(exporter: str, endpoint: str) -> bool:
    """Whether *exporter* can call *endpoint*; gRPC knows more than URLs."""
    if exporter not in (GRPC, HTTP):
        return True
    try:
        place = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        known = place.port is None or place.port > 0
    except ValueError:
        return False
    if exporter == GRPC:
        return known
    return known and place.scheme in ("http", "https") and bool(place.hostname)


def _split(endpoint: str) -> SplitResult:
    try:
        return urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    except ValueError:
        return SplitResult("", "", "", "", "")


def _port(place: SplitResult) -> int | None:
    try:
        return place.port
    except ValueError:
        return None
