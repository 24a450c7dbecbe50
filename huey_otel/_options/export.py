"""Where spans, metrics and log records go, by OpenTelemetry's variables.

Without us only `opentelemetry-instrument` reads them.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from huey_otel import _names as n
from huey_otel._options.otel_variables import (
    DETECTORS,
    GRPC,
    HTTP,
    LOGS,
    METRICS,
    TRACES,
    Checked,
    Instead,
    attributes_in,
    blank,
    names,
    of_otlp,
    set_of_otlp,
    words,
)
from huey_otel._safety import encodable
from huey_otel._safety.redaction import shown

EXPORTERS: Final = "opentelemetry_traces_exporter"
"""The group of entry points that names what makes exporters of spans."""
ID_GENERATORS: Final = "opentelemetry_id_generator"
_ID_GENERATOR: Final = "OTEL_PYTHON_ID_GENERATOR"
CREDENTIALS: Final = "opentelemetry_otlp_credential_provider"

_FILE: Final = "OTEL_CONFIG_FILE"
_READER: Final = "opentelemetry-instrument with opentelemetry-distro"
_PARTS: Final = {
    TRACES: "tracer_provider",
    METRICS: "meter_provider",
    LOGS: "logger_provider",
}
"""What the file has for each signal."""
_OTLP: Final = "otlp"
_CONSOLE: Final = "console"
_NONE: Final = "none"
_PROTOCOLS: Final = {"grpc": GRPC, "http/protobuf": HTTP}
_SPOKEN: Final = {GRPC: "OTLP/gRPC", HTTP: "OTLP/HTTP", _CONSOLE: "the console"}
_ALWAYS: Final = (GRPC, HTTP, _CONSOLE)
_FILES: Final = ("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE")
_SCHEMES: Final = ("http", "https")
_GRPC_PORT: Final = 4317
_HTTP_PORT: Final = 4318


class Export(NamedTuple):
    """What the environment says of where spans go, or metrics, or log records.

    `exporters`, `detectors`, `id_generator` and `credentials` name entry points of
    OpenTelemetry. `why_none` tells people why there are no exporters. `in_file` is
    whether a configuration file says it, and no variable. `ignored` are warnings of
    values that cannot be used, for when they are needed. `instead` is what
    OpenTelemetry is to read in place of the variables. `files` are those for TLS, and
    `halves` warnings of a certificate or key without the other, by variable; `tls` is
    whether they are needed. `timeout` is OTLP's in seconds, None for its default.
    `attributes` names the resource's attributes that are set.
    """

    disabled: bool
    exporters: tuple[str, ...]
    endpoint: str
    why_none: str
    in_file: bool
    ignored: tuple[str, ...]
    instead: Instead
    files: Mapping[str, str]
    tls: bool
    halves: Mapping[str, str]
    timeout: float | None
    attributes: frozenset[str]
    detectors: tuple[str, ...]
    id_generator: str
    credentials: str

    def resource(self, queue: str) -> dict[str, str]:
        """Attributes of a resource: the service is *queue*, unless it was given."""
        return {} if n.SERVICE_NAME in self.attributes else {n.SERVICE_NAME: queue}

    def unread(self) -> dict[str, str]:
        """The files for TLS that OTLP cannot use now, and why, by variable."""
        if {GRPC, HTTP}.isdisjoint(self.exporters):
            return {}
        unreadable = {
            name: f"{name}={path!r}: expected a file that can be read"
            for name, path in self.files.items()
            if not os.access(path, os.R_OK)
        }
        return {**unreadable, **self.halves}

    def asked(self, exporter: str) -> dict[str, Any]:
        """The arguments for the entry point *exporter*."""
        if self.timeout is None or exporter not in (GRPC, HTTP):
            return {}
        return {"timeout": self.timeout}

    def over(self, exporters: Sequence[str]) -> str:
        """Where *exporters* deliver, for people."""
        over = f"over {', '.join(_SPOKEN.get(name, name) for name in exporters)}"
        if {GRPC, HTTP}.isdisjoint(exporters):
            return over
        default = f"localhost:{_GRPC_PORT if GRPC in exporters else _HTTP_PORT}"
        url = _url(self.endpoint or default)
        place = encodable.text(url.netloc.rpartition("@")[2]) if url else ""
        return f"{over} to {place}" if place else over


def group_of(signal: str) -> str:
    """The group of entry points that names what makes exporters of *signal*."""
    return f"opentelemetry_{signal}_exporter"


def read_export(env: Mapping[str, str], signal: str = TRACES) -> Export:
    """Read the variables as the OpenTelemetry specification says.

    Spans and metrics go out only where an exporter or an endpoint is named. Log records
    are asked for by `events=otlp`, and then OTLP to this machine is the default.
    A configuration file stands in for the variables; who sets up the SDK reads it.
    """
    endpoint_of, endpoint = set_of_otlp(env, "ENDPOINT", signal)
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    default = _OTLP if endpoint or signal == LOGS else ""
    raw = encodable.text(env.get(variable, "").strip()) or default
    disabled = env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    in_file = _FILE in env
    ignored: list[str] = []
    exporters: list[str] = []
    for name in () if disabled or in_file else words(raw):
        exporter = _protocol(env, endpoint, ignored, signal) if name == _OTLP else name
        why = _refusal(exporter, signal, endpoint_of, endpoint)
        if why:
            ignored.append(why)
        elif exporter not in (*exporters, _NONE):
            exporters.append(exporter)
    why_none = "OTEL_EXPORTER_OTLP_ENDPOINT is not set"
    if in_file:
        part = _PARTS[signal]
        why_none = (
            f"{_FILE} is set, and that file was not read or has no {part};"
            f" only {_READER} reads it"
        )
    elif ignored:
        why_none = ignored[0]
    elif raw:
        why_none = f"{variable}={raw}"
    id_generator = _id_generator(env, ignored) if exporters else ""
    checked = Checked(env, signal, exporters)
    instead = blank() | checked.instead
    credentials = [
        env.get(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{of}CREDENTIAL_PROVIDER", "").strip()
        for of in ("", f"{signal.upper()}_")
    ]
    files = [set_of_otlp(env, what, signal) for what in _FILES]
    return Export(
        disabled=disabled,
        exporters=tuple(exporters),
        endpoint=endpoint,
        why_none=why_none,
        in_file=in_file,
        id_generator=id_generator,
        ignored=(*ignored, *checked.ignored),
        instead=instead,
        files={name: path for name, path in files if name},
        tls=_is_secure(env, signal, exporters, endpoint),
        halves=_halves(env, signal, exporters),
        timeout=checked.timeout,
        credentials=next(filter(None, credentials), ""),
        attributes=attributes_in(env),
        detectors=words(instead.get(DETECTORS, env.get(DETECTORS)) or ""),
    )


def _refusal(exporter: str, signal: str, endpoint_of: str, endpoint: str) -> str:
    """Why *exporter* cannot be used, empty if it can."""
    if exporter not in _ALWAYS:
        known = {*names(group_of(signal)), _NONE}
        if exporter not in known:
            accepted = ", ".join(sorted(known))
            variable = f"OTEL_{signal.upper()}_EXPORTER"
            return f"{variable}={exporter!r}: expected some of {accepted}"
    if exporter not in (GRPC, HTTP) or not endpoint:
        return ""
    url = _url(endpoint)
    # gRPC knows more than URLs.
    if url and (exporter == GRPC or (url.scheme in _SCHEMES and url.hostname)):
        return ""
    port = _GRPC_PORT if exporter == GRPC else _HTTP_PORT
    return (
        f"{endpoint_of}={shown(endpoint)}: expected a URL, such as"
        f" http://localhost:{port}"
    )


def _protocol(
    env: Mapping[str, str], endpoint: str, ignored: list[str], signal: str
) -> str:
    """The entry point for OTLP: as named, else gRPC for its port, else HTTP."""
    for name in of_otlp("PROTOCOL", signal):
        raw = env.get(name, "").strip()
        if raw in _PROTOCOLS:
            return _PROTOCOLS[raw]
        if raw:
            accepted = ", ".join(_PROTOCOLS)
            ignored.append(f"{name}={raw!r}: expected one of {accepted}")
    url = _url(endpoint)
    return GRPC if url and url.port == _GRPC_PORT else HTTP


def _id_generator(env: Mapping[str, str], ignored: list[str]) -> str:
    raw = env.get(_ID_GENERATOR, "").strip()
    if raw and raw not in names(ID_GENERATORS):
        accepted = ", ".join(sorted(names(ID_GENERATORS)))
        ignored.append(f"{_ID_GENERATOR}={raw!r}: expected one of {accepted}")
        return ""
    return raw


def _is_secure(
    env: Mapping[str, str], signal: str, exporters: Sequence[str], endpoint: str
) -> bool:
    """Whether the exporter of OTLP speaks TLS."""
    scheme, separator, _ = endpoint.partition("://")
    if separator and scheme.lower() in _SCHEMES:
        return scheme.lower() == "https"
    _, insecure = set_of_otlp(env, "INSECURE", signal)
    return bool(endpoint) and GRPC in exporters and insecure.lower() != "true"


def _halves(
    env: Mapping[str, str], signal: str, exporters: Sequence[str]
) -> dict[str, str]:
    """By variable, which half of a client's certificate and key is missing.

    With one half and a certificate of the server, gRPC ends the process (grpcio 1.85).
    For HTTP a certificate may have its key in the same file.
    """
    certificates, keys, pairs = (of_otlp(what, signal) for what in _FILES)
    other_of = {}
    if GRPC in exporters:
        for certificate, *pair in zip(certificates, keys, pairs, strict=True):
            given = [name for name in pair if env.get(name)]
            if env.get(certificate) and len(given) == 1:
                (other_of[given[0]],) = set(pair).difference(given)
    if HTTP in exporters and not any(env.get(name) for name in pairs):
        for key, other in zip(keys, pairs, strict=True):
            if env.get(key):
                other_of[key] = other
    return {
        half: f"{half}: expected {other} with it" for half, other in other_of.items()
    }


def _url(endpoint: str) -> SplitResult | None:
    """The parts of *endpoint*, which may have no scheme; None where it is wrong."""
    try:
        url = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        return None if url.port == 0 else url
    except ValueError:
        return None
