"""Where spans go, by the variables that only `opentelemetry-instrument` reads itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_PROTOCOLS: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_GRPC_PORT: Final = 4317


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What the environment says of where spans go.

    `exporters` are names of OpenTelemetry's entry points, `target` says to
    people where they deliver, `why_none` why there are none.
    """

    disabled: bool = False
    exporters: tuple[str, ...] = ()
    target: str = ""
    why_none: str = ""
    service_name_given: bool = False


def read_export(env: Mapping[str, str]) -> Export:
    """Read the standard variables that only `opentelemetry-instrument` reads itself."""
    endpoint = env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or env.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    names = [
        name.strip()
        for name in env.get("OTEL_TRACES_EXPORTER", "otlp" if endpoint else "").split(
            ","
        )
        if name.strip()
    ]
    protocol = _protocol(env, endpoint)
    why_none = "OTEL_EXPORTER_OTLP_ENDPOINT is not set"
    if names:
        why_none = "OTEL_TRACES_EXPORTER=none"
    return Export(
        disabled=env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true",
        exporters=tuple(
            protocol if name == "otlp" else name for name in names if name != "none"
        ),
        target=endpoint or "the exporter's default endpoint",
        why_none=why_none,
        service_name_given="OTEL_SERVICE_NAME" in env
        or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", ""),
    )


def _protocol(env: Mapping[str, str], endpoint: str | None) -> str:
    """The entry point for OTLP: as named, else gRPC for its port, else HTTP."""
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        raw = env.get(name)
        if raw:
            if raw not in _PROTOCOLS:
                accepted = ", ".join(_PROTOCOLS)
                raise ValueError(f"{name}={raw!r}: expected one of {accepted}")
            return _PROTOCOLS[raw]
    place = endpoint or ""
    try:
        port = urlsplit(place if "://" in place else f"//{place}").port
    except ValueError:
        port = None
    return _PROTOCOLS["grpc" if port == _GRPC_PORT else "http/protobuf"]
