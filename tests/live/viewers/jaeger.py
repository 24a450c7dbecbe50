"""A real Jaeger, which keeps traces in memory, and what its API says of them."""

import json
import shutil
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.processes import Program
from tests.live.scraping import fetch
from tests.support.programs import ROOT, free_port, missing
from tests.support.waiting import wait_until

BUILT = ROOT / ".jaeger" / "jaeger"

# As the configuration that the image has inside, but for the ports, and for the
# receivers of other protocols.
_CONFIGURATION = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces:
      receivers: [otlp]
      processors: [batch]
      exporters: [jaeger_storage_exporter]
  telemetry:
    metrics: {{level: none}}
extensions:
  jaeger_query:
    storage: {{traces: some_storage}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{query_grpc}"}}
  jaeger_storage:
    backends:
      some_storage:
        memory: {{max_traces: 100000}}
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      http: {{endpoint: "127.0.0.1:{http}"}}
processors:
  batch:
exporters:
  jaeger_storage_exporter:
    trace_storage: some_storage
"""

Place = tuple[str, str]
"""The id of a trace, and of a span in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span as Jaeger shows it; times are microseconds.

    `tags` has what OpenTelemetry calls attributes, kind and status; `logs` its events.
    """

    trace_id: str
    span_id: str
    name: str
    service: str
    host: str
    parent_id: str | None
    links: tuple[Place, ...]
    start: int
    duration: int
    tags: dict[str, Any] = field(hash=False)
    logs: tuple[dict[str, Any], ...] = field(hash=False)
    warnings: tuple[str, ...]

    @property
    def place(self) -> Place:
        return self.trace_id, self.span_id

    @property
    def is_attempt(self) -> bool:
        return self.tags.get("messaging.operation.name") == "process"

    @property
    def failed(self) -> bool:
        return self.tags.get("error") is True


Traces = dict[str, list[Span]]
"""The spans of each trace, by its id, in the order of their start."""


class Jaeger(Program):
    """Jaeger, all in one process, on ports of its own."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        built = str(BUILT) if BUILT.exists() else None
        executable = shutil.which("jaeger") or built
        ports = {name: free_port() for name in ("query", "query_grpc", "grpc", "http")}
        configuration = directory / "jaeger.yaml"
        configuration.write_text(_CONFIGURATION.format(**ports))
        self.address = f"127.0.0.1:{ports['query']}"
        self.otlp_http = f"127.0.0.1:{ports['http']}"
        self.otlp_grpc = f"127.0.0.1:{ports['grpc']}"
        super().__init__(
            *("--config", str(configuration)),
            log=directory / "log",
            environ={},
            executable=executable or missing("Jaeger (`make jaeger`)"),
        )

    def wait_until_ready(self) -> None:
        def answers() -> bool:
            assert self.running, self.log
            try:
                return fetch(f"http://{self.address}/")[0] == 200
            except OSError:
                return False

        wait_until(answers)

    def services(self) -> set[str]:
        return set(self._ask("services"))

    def operations(self, service: str) -> set[tuple[str, str]]:
        """The name and the kind of each operation of *service*."""
        found = self._ask("operations", service=service)
        return {(one["name"], one["spanKind"]) for one in found}

    def dependencies(self) -> dict[tuple[str, str], int]:
        """How often which service called which other one, in the last hour."""
        now = round(time.time() * 1000)
        found = self._ask("dependencies", endTs=now, lookback=3_600_000)
        return {(one["parent"], one["child"]): one["callCount"] for one in found}

    def traces(self, *, raw: bool = False, **tags: str) -> Traces:
        """All traces of the last hour that have a span with *tags*.

        A *raw* one is as it arrived; else Jaeger has left out what is there twice, and
        says in warnings what it finds doubtful.
        """
        found: Traces = {}
        for service in self.services():
            found |= self.search(service, raw=raw, **tags)
        return found

    def search(self, service: str, *, raw: bool = False, **tags: str) -> Traces:
        """Likewise, if that span is of *service*."""
        now = round(time.time() * 1_000_000)
        asked = {
            "service": service,
            "start": now - 3_600_000_000,
            "end": now,
            "limit": 20_000,
            "raw": str(raw).lower(),
        }
        if tags:
            asked["tags"] = json.dumps(tags)
        return {one["traceID"]: _spans(one) for one in self._ask("traces", **asked)}

    def has(self, trace_id: str) -> bool:
        return fetch(f"http://{self.address}/api/traces/{trace_id}")[0] == 200

    def _ask(self, what: str, **parameters: object) -> Any:
        query = urllib.parse.urlencode(parameters)
        status, body = fetch(f"http://{self.address}/api/{what}?{query}")
        assert status == 200, body
        # Where there is nothing, it is null.
        return json.loads(body)["data"] or []


def _spans(trace: dict[str, Any]) -> list[Span]:
    found = list(_read(trace))
    return sorted(found, key=lambda span: span.start)


def _read(trace: dict[str, Any]) -> Iterator[Span]:
    for span in trace["spans"]:
        process = trace["processes"][span["processID"]]
        references = span["references"]
        parents = [one for one in references if one["refType"] == "CHILD_OF"]
        assert len(parents) <= 1, span
        # A parent is of the same trace.
        assert {one["traceID"] for one in parents} <= {span["traceID"]}
        yield Span(
            trace_id=span["traceID"],
            span_id=span["spanID"],
            name=span["operationName"],
            service=process["serviceName"],
            host=_values(process["tags"]).get("host.name", ""),
            parent_id=parents[0]["spanID"] if parents else None,
            links=tuple(
                (one["traceID"], one["spanID"])
                for one in references
                if one["refType"] == "FOLLOWS_FROM"
            ),
            start=span["startTime"],
            duration=span["duration"],
            tags=_values(span["tags"]),
            logs=tuple(_values(one["fields"]) for one in span["logs"]),
            warnings=tuple(span["warnings"] or ()),
        )


def _values(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: pair["value"] for pair in pairs}
