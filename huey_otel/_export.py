"""Where spans go, by the variables that only `opentelemetry-instrument` reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final
from urllib.parse import SplitResult, urlsplit

from huey_otel import _names as n
from huey_otel import _sayable

TRACES: Final = "traces"
EXPORTERS: Final = "opentelemetry_traces_exporter"
"""The group of entry points that names what makes exporters of spans."""
ID_GENERATORS: Final = "opentelemetry_id_generator"
_ID_GENERATOR: Final = "OTEL_PYTHON_ID_GENERATOR"
CREDENTIALS: Final = "opentelemetry_otlp_credential_provider"
_CREDENTIALS: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)

GRPC: Final = "otlp_proto_grpc"
HTTP: Final = "otlp_proto_http"
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

    `exporters` are names of OpenTelemetry's entry points, `where` says to
    people where they deliver, `why_none` why there are none. `ignored` are
    values that nobody can use: a warning, once they would have been of use, as
    the specification says of enums. Others may know them. `id_generator` and
    `credentials` name entry points, empty for what there is without.
    """

    disabled: bool = False
    exporters: tuple[str, ...] = ()
    where: str = ""
    why_none: str = ""
    ignored: tuple[str, ...] = ()
    service_name_given: bool = False
    id_generator: str = ""
    credentials: str = ""

    def resource(self, queue: str) -> dict[str, str]:
        """Attributes of a resource: the service is *queue*, unless it was given."""
        return {} if self.service_name_given else {n.SERVICE_NAME: queue}


def group_of(signal: str) -> str:
    """The group of entry points that names what makes exporters of *signal*."""
    return f"opentelemetry_{signal}_exporter"


def read_export(env: Mapping[str, str], signal: str = TRACES) -> Export:
    """Read the variables as the OpenTelemetry specification says."""
    endpoint = env.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT") or env.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT", ""
    )
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    raw = _sayable.text(env.get(variable, "").strip()) or (_OTLP if endpoint else "")
    names = [name.strip() for name in raw.split(",") if name.strip()]
    disabled = env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    ignored: list[str] = []
    exporters = () if disabled else _exporters(names, env, endpoint, ignored, signal)
    credentials = [env.get(name, "").strip() for name in _CREDENTIALS]
    why_none = f"{variable}={raw}" if raw else "OTEL_EXPORTER_OTLP_ENDPOINT is not set"
    return Export(
        disabled=disabled,
        exporters=exporters,
        where=_where(exporters, endpoint),
        why_none=ignored[0] if ignored else why_none,
        id_generator=_id_generator(env, ignored) if exporters else "",
        ignored=tuple(ignored),
        credentials=next(filter(None, credentials), ""),
        service_name_given=bool(env.get("OTEL_SERVICE_NAME"))
        or _names_service(env.get("OTEL_RESOURCE_ATTRIBUTES", "")),
    )


def _exporters(
    names: list[str],
    env: Mapping[str, str],
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
        elif found == HTTP and endpoint and "://" not in endpoint:
            ignored.append(
                f"OTLP endpoint {endpoint!r}: expected a URL, http://{endpoint}"
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


def _where(exporters: tuple[str, ...], endpoint: str) -> str:
    spoken = [_SPOKEN.get(name, name) for name in exporters]
    over = f"over {', '.join(spoken)}"
    if {GRPC, HTTP}.isdisjoint(exporters):
        return over
    default = f"localhost:{_GRPC_PORT if GRPC in exporters else _HTTP_PORT}"
    place = _sayable.text(_split(endpoint or default).netloc.rpartition("@")[2])
    return f"{over} to {place}" if place else over


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


def _names_service(attributes: str) -> bool:
    names = (pair.partition("=")[0].strip() for pair in attributes.split(","))
    return n.SERVICE_NAME in names
