"""Findings of this environment, each provoked in a process that has it."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runtime.otlp_receiver import GRPC, HTTP, Answer, black_hole, receiver, refusing
from tests.support.checking import APPLICATION, NOTHING, Told
from tests.support.event_logs import needs_event_names
from tests.support.programs import ROOT, bare_environment

pytestmark = [pytest.mark.once, pytest.mark.slow]

Check = Callable[..., Told]


PROTOCOLS = pytest.mark.parametrize("protocol", [HTTP, GRPC])


class TestSpansOff:
    @pytest.mark.parametrize(
        ("environ", "level", "why"),
        [
            (
                {"OTEL_SERVICE_NAME": "app"},
                "note",
                "none until the application sets a tracer provider;"
                " OTEL_EXPORTER_OTLP_ENDPOINT is not set",
            ),
            (
                {"OTEL_TRACES_EXPORTER": "none"},
                "note",
                "none until the application sets a tracer provider;"
                " OTEL_TRACES_EXPORTER=none",
            ),
            (
                {"OTEL_CONFIG_FILE": "/nowhere/otel.yaml"},
                "warning",
                "none until the application sets a tracer provider;"
                " OTEL_CONFIG_FILE is set, and that file was not read or has no"
                " tracer_provider; only opentelemetry-instrument with"
                " opentelemetry-distro reads it",
            ),
            ({"OTEL_SDK_DISABLED": "true"}, "note", "OTEL_SDK_DISABLED is set"),
            (
                {
                    "OTEL_TRACES_EXPORTER": "console",
                    "OTEL_TRACES_SAMPLER": "always_off",
                },
                "note",
                "the sampler AlwaysOffSampler drops all",
            ),
            (
                {
                    "OTEL_TRACES_EXPORTER": "console",
                    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                    "OTEL_TRACES_SAMPLER_ARG": "0",
                },
                "note",
                "drops all",
            ),
            (
                {"OTEL_EXPORTER_OTLP_ENDPOINT": "http//collector"},
                "warning",
                "OTEL_EXPORTER_OTLP_ENDPOINT='http//collector': expected a URL",
            ),
            (
                {"OTEL_TRACES_EXPORTER": "jaeger"},
                "warning",
                "OTEL_TRACES_EXPORTER='jaeger': expected some of",
            ),
        ],
        ids=["unset", "none", "file", "disabled", "off", "ratio", "no url", "unknown"],
    )
    def test_nothing_exports_spans_for_each_reason(
        self, environ: dict[str, str], level: str, why: str, check_apart: Check
    ) -> None:
        told = check_apart(APPLICATION, **environ)

        assert told.found == {"spans-off": level}
        assert told.text("spans-off").startswith("spans in this environment: ")
        assert why in told.text("spans-off")

    def test_exported_spans_are_no_finding(self, check_apart: Check) -> None:
        told = check_apart(APPLICATION, OTEL_TRACES_EXPORTER="console")

        assert (told.found, told.unknown) == NOTHING
        assert "spans over the console, started by the provider's tracer:" in str(
            told.looked_at
        )


class TestOtlpRefuses:
    @PROTOCOLS
    def test_a_collector_that_takes_spans_gets_one_empty_export(
        self, protocol: str, check_apart: Check
    ) -> None:
        requests: list[Any] = []
        with receiver(protocol) as collector:
            collector.forward = requests.append
            told = check_apart(APPLICATION, **collector.environ)

        assert (told.found, told.unknown) == NOTHING
        assert [request.SerializeToString() for request in requests] == [b""]

    @PROTOCOLS
    def test_a_collector_refuses(self, protocol: str, check_apart: Check) -> None:
        with receiver(protocol) as collector:
            collector.answer = Answer(refusal="INVALID_ARGUMENT", message="no token")
            told = check_apart(APPLICATION, **collector.environ)

        assert told.found == {"otlp-refuses": "error"}
        assert "no token" in told.text("otlp-refuses")
        assert told.code == 1

    @PROTOCOLS
    def test_no_collector_listens(self, protocol: str, check_apart: Check) -> None:
        with refusing(protocol) as collector:
            told = check_apart(APPLICATION, **collector.environ)

        assert told.found == {"otlp-refuses": "error"}

    @PROTOCOLS
    def test_the_collector_does_not_answer(
        self, protocol: str, check_apart: Check
    ) -> None:
        with black_hole(protocol) as collector:
            told = check_apart(APPLICATION, **collector.environ)

        assert told.found == {"otlp-refuses": "error"}

    def test_the_exporter_of_the_application_is_asked(
        self, check_apart: Check, tmp_path: Path
    ) -> None:
        (tmp_path / "own_provider.py").write_text(OWN_PROVIDER)
        path = f"{ROOT}:{tmp_path}"
        with refusing() as collector:
            told = check_apart(
                "own_provider.huey", pythonpath=path, ENDPOINT=collector.endpoint
            )

        assert told.found == {"otlp-refuses": "error"}
        assert told.text("otlp-refuses").startswith(
            f"in this environment {collector.endpoint} takes no spans:"
        )

    def test_its_questions_make_no_spans(self, redis_url: str) -> None:
        """Other instrumentations trace Redis and HTTP in this process as well."""
        requests: list[Any] = []
        command = Path(sys.executable).with_name("opentelemetry-instrument")
        known = {
            "LIVE_QUEUE_URL": redis_url,
            "HUEY_OTEL_METRICS_PORT": "0",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
        }
        with receiver() as collector:
            collector.forward = requests.append
            done = subprocess.run(
                [command, sys.executable, "-m", "huey_otel", "check", APPLICATION],
                cwd=ROOT,
                env=bare_environment() | known | collector.environ,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )

        assert done.stdout.startswith("nothing found"), done.stderr
        assert [request.SerializeToString() for request in requests] == [b""]


OWN_PROVIDER = """
import os
from huey import MemoryHuey
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from huey_otel import instrument
provider = TracerProvider()
exporter = OTLPSpanExporter(endpoint=os.environ["ENDPOINT"])
provider.add_span_processor(BatchSpanProcessor(exporter))
huey = MemoryHuey("own")
instrument(huey, tracer_provider=provider)
"""


class TestVariable:
    def test_the_name_of_a_variable_is_misspelled(self, check_apart: Check) -> None:
        told = check_apart(APPLICATION, HUEY_OTEL_METRICS_PRT="9", HUEY_OTEL_CHANEL="a")

        texts = [one["text"] for one in told.findings]
        assert told.found == {"variable": "warning"}
        assert texts == [
            f"in this environment HUEY_OTEL_{name} is no setting of huey-otel and has"
            f" no effect (did you mean HUEY_OTEL_{meant}?)"
            for name, meant in [("CHANEL", "CHANNEL"), ("METRICS_PRT", "METRICS_PORT")]
        ]

    def test_a_variable_of_opentelemetry_has_a_wrong_value(
        self, check_apart: Check
    ) -> None:
        told = check_apart(
            APPLICATION, OTEL_TRACES_EXPORTER="console", OTEL_BSP_MAX_QUEUE_SIZE="-1"
        )

        assert told.found == {"variable": "warning"}
        assert "OTEL_BSP_MAX_QUEUE_SIZE" in told.text("variable")

    @needs_event_names
    def test_a_variable_of_opentelemetry_turns_events_as_log_records_off(
        self, check_apart: Check
    ) -> None:
        told = check_apart(
            APPLICATION,
            HUEY_OTEL_EVENTS="redis,otlp",
            OTEL_LOGS_EXPORTER="kafka",
            OTEL_TRACES_EXPORTER="console",
        )

        assert told.found == {"variable": "warning"}
        assert told.text("variable").startswith(
            "in this environment OTEL_LOGS_EXPORTER='kafka': expected some of console,"
        )

    def test_a_variable_turns_all_off(self, check_apart: Check) -> None:
        told = check_apart(APPLICATION, HUEY_OTEL_DISABLED="1")

        assert told.found == {"variable": "warning"}
        assert told.text("variable") == (
            "in this environment HUEY_OTEL_DISABLED turns all of huey-otel off"
        )


class TestMultiprocDir:
    def test_the_directory_does_not_exist(
        self, check_apart: Check, tmp_path: Path
    ) -> None:
        told = check_apart(APPLICATION, PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "gone"))

        assert told.found == {"multiproc-dir": "warning"}
        assert told.text("multiproc-dir").endswith("gone is no directory")

    def test_the_directory_exists(self, check_apart: Check, tmp_path: Path) -> None:
        told = check_apart(APPLICATION, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))

        assert (told.found, told.unknown) == NOTHING


class TestPortTaken:
    def test_another_program_serves_the_port(
        self, check: Check, checked: Callable[..., ModuleType]
    ) -> None:
        server = http.server.HTTPServer(
            ("127.0.0.1", 0), http.server.BaseHTTPRequestHandler
        )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        checked(HUEY_OTEL_METRICS_PORT=str(server.server_port))

        told = check(APPLICATION)

        server.shutdown()
        server.server_close()
        thread.join()
        assert told.found == {"port-taken": "warning"}
