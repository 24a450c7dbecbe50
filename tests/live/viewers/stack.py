"""The services of docker-compose.yml as processes of this host."""

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.live.processes import Program
from tests.live.scraping import Prometheus, serves, url_of
from tests.live.viewers.jaeger import Jaeger
from tests.support.image import command, final
from tests.support.programs import ROOT, free_port, missing
from tests.support.waiting import wait_until

PROMETHEUS_3 = ROOT / ".prometheus3" / "prometheus"

_COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
_RULES = ROOT / "runtime" / "prometheus"


class Stack:
    """Its consumers, web page, exporter, Jaeger, and several Prometheus.

    Addresses are of this host, and each consumer has the host name of its service. One
    of the consumers sends its spans over gRPC. *keep* is given each program.
    """

    def __init__(
        self, directory: Path, redis_port: int, keep: Callable[[Program], Program]
    ) -> None:
        self._directory = directory
        self._keep = keep
        self.redis_url = f"redis://127.0.0.1:{redis_port}/0"
        self.jaeger = Jaeger(directory / "jaeger")
        keep(self.jaeger)
        self.ports = {
            name: free_port()
            for name in ("web", "consumer", "consumer-threads", "exporter")
        }
        self._here = {
            "valkey:6379": f"127.0.0.1:{redis_port}",
            "jaeger:4318": self.jaeger.otlp_http,
            "jaeger:16686": self.jaeger.address,
            "localhost:16686": self.jaeger.address,
            "consumer:9464": f"127.0.0.1:{self.ports['consumer']}",
            "consumer-threads:9464": f"127.0.0.1:{self.ports['consumer-threads']}",
            "web:8000": f"127.0.0.1:{self.ports['web']}",
        }

    def start(self) -> dict[str, Program]:
        """Start Jaeger's clients; the consumers, by the names of their services."""
        self.jaeger.wait_until_ready()
        over_grpc = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.jaeger.otlp_grpc}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }
        consumers = {
            "consumer": self._consumer("consumer"),
            "consumer-threads": self._consumer("consumer-threads", **over_grpc),
        }
        self._run(
            "web",
            *_arguments("web"),
            *("--host", "127.0.0.1", "--port", str(self.ports["web"])),
        )
        self._run(
            "exporter",
            *("-m", "huey_otel", "exporter", *self._told("exporter")),
            *("--port", str(self.ports["exporter"])),
        )
        for port in self.ports.values():
            wait_until(lambda p=port: serves(p))
        return consumers

    def prometheus(self, name: str, *jobs: str, native: bool = False) -> Prometheus:
        """A Prometheus 3 with the stack's configuration, and these services as `huey`.

        With *native*, it keeps classic histograms as native ones.
        """
        if not PROMETHEUS_3.exists():
            missing("Prometheus 3 (`make prometheus3`)")
        configuration: dict[str, Any] = yaml.safe_load(
            self._located((_RULES / "prometheus.yml").read_text())
        )
        huey, web = configuration["scrape_configs"]
        assert (huey["job_name"], web["job_name"]) == ("huey", "shop-web")
        targets = [f"127.0.0.1:{self.ports[job]}" for job in jobs]
        huey["static_configs"] = [{"targets": targets}]
        if native:
            for job in (huey, web):
                job["convert_classic_histograms_to_nhcb"] = True
        configuration["rule_files"] = [
            str(_RULES / rules) for rules in configuration["rule_files"]
        ]
        features = ("exemplar-storage", *(("native-histograms",) if native else ()))
        prometheus = Prometheus(
            self._directory / f"prometheus-{name}",
            *(self.ports[job] for job in (*jobs, "web")),
            executable=str(PROMETHEUS_3),
            features=",".join(features),
            configuration=yaml.safe_dump(configuration),
        )
        self._keep(prometheus)
        return prometheus

    def load(self, *arguments: str, log: str) -> Program:
        """Start the load as a service of its own, with *arguments*."""
        environ = {"OTEL_RESOURCE_ATTRIBUTES": "host.name=load"}
        return self._run("load", *arguments, log=log, **environ)

    def web(self, path: str, form: str | None = None) -> tuple[int, str, str]:
        """Ask the shop's page, by POST with a *form*: status, last URL, and text."""
        url = url_of(self.ports["web"], path)
        data = None if form is None else form.encode()
        with urllib.request.urlopen(url, data, timeout=60) as answer:
            return answer.status, answer.url, answer.read().decode()

    def _consumer(self, service: str, **environ: str) -> Program:
        return self._run(
            service,
            *_arguments(service),
            HUEY_OTEL_METRICS_PORT=str(self.ports[service]),
            OTEL_RESOURCE_ATTRIBUTES=f"host.name={service}",
            **environ,
        )

    def _run(
        self, service: str, *arguments: str, log: str = "", **environ: str
    ) -> Program:
        told = _COMPOSE["services"][service].get("environment", {})
        program = Program(
            *arguments,
            log=self._directory / f"{log or service}.log",
            environ={name: self._located(text) for name, text in told.items()}
            | environ,
        )
        self._keep(program)
        return program

    def _told(self, service: str) -> list[str]:
        return list(map(self._located, _COMPOSE["services"][service]["command"]))

    def _located(self, text: str) -> str:
        """*text* with the addresses of this host."""
        for theirs, ours in self._here.items():
            text = text.replace(theirs, ours)
        return text


def _arguments(service: str) -> list[str]:
    """What a service of the shop's image has Python run."""
    told = _COMPOSE["services"][service].get("command") or command(final("CMD"))
    assert told[0] == "python"
    return list(told[1:])
