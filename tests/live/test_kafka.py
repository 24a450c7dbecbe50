"""Events at a Kafka server, through a real OpenTelemetry Collector."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runtime.otlp_receiver import GRPC, HTTP
from tests.live.processes import Consumer, Program, losses
from tests.live.received_events import ReceivedEvents
from tests.support.event_logs import said_by, without_numbers
from tests.support.programs import ROOT, free_port
from tests.support.waiting import wait_until

COLLECTOR = ROOT / ".collector" / "collector"
TOPIC = "huey-events"
TASKS = 500

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(
        not COLLECTOR.exists(), reason="no Collector (`make collector`)"
    ),
]

_CONFIGURATION = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{grpc}"}}
      http: {{endpoint: "127.0.0.1:{http}"}}
exporters:
  kafka:
    brokers: ["{broker}"]
    logs: {{topic: {topic}, encoding: otlp_json}}
service:
  pipelines:
    logs: {{receivers: [otlp], exporters: [kafka]}}
  telemetry:
    metrics: {{level: none}}
"""

Keep = Callable[[Program], Program]


class Kafka(Program):
    """A Kafka server in memory, and the messages that it got."""

    def __init__(self, log: Path) -> None:
        command = str(COLLECTOR)
        super().__init__("kafka", TOPIC, log=log, environ={}, executable=command)

    @property
    def address(self) -> str:
        wait_until(lambda: "\n" in self.log)
        return self.log.splitlines()[0]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The log records of all messages, in the form of `said_by`."""
        return [
            _said(record)
            for line in self.log.splitlines()[1:]
            for resource in json.loads(line)["resourceLogs"]
            for scope in resource["scopeLogs"]
            for record in scope["logRecords"]
        ]


def _said(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "event_name": record["eventName"],
        "severity": record["severityText"],
        "severity_text": record["severityText"],
        "body": _value(record["body"]),
        "time": int(record["timeUnixNano"]),
        "trace_id": record.get("traceId", ""),
        "span_id": record.get("spanId", ""),
        "flags": record.get("flags", 0),
        "attributes": {
            one["key"]: _value(one["value"]) for one in record["attributes"]
        },
    }


def _value(value: dict[str, Any]) -> Any:
    ((kind, plain),) = value.items()
    return int(plain) if kind == "intValue" else plain


@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_every_event_arrives_at_kafka_whole(
    consumer: Callable[..., Consumer],
    application: Callable[..., ModuleType],
    received: ReceivedEvents,
    keep: Keep,
    tmp_path: Path,
    kind: str,
    protocol: str,
) -> None:
    kafka = Kafka(tmp_path / "kafka")
    keep(kafka)
    ports = {GRPC: free_port(), HTTP: free_port()}
    configuration = tmp_path / "collector.yaml"
    configuration.write_text(
        _CONFIGURATION.format(
            grpc=ports[GRPC], http=ports[HTTP], broker=kafka.address, topic=TOPIC
        )
    )
    collector = Program(
        f"--config=file:{configuration}",
        log=tmp_path / "collector.log",
        environ={},
        executable=str(COLLECTOR),
    )
    keep(collector)
    wait_until(lambda: "is ready" in collector.log or not collector.running)
    assert collector.running
    app = application()
    for number in range(TASKS):
        app.add(number, 1)
    app.fail("žluť")

    running = consumer(
        *(kind, "-n", "-w", "2"),
        HUEY_OTEL_EVENTS="redis,otlp",
        LIVE_DROPPED=str(tmp_path / "dropped"),
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{ports[protocol]}",
    )
    wait_until(lambda: received.count("error-task") == 2)
    wait_until(lambda: received.count("finished") == TASKS)
    running.wait_until_started()
    running.stop()
    wait_until(lambda: len(kafka.records) >= len(received.events))

    events = received.catch_up()
    client = f"{events[0]['host']}:{running.pid}"
    assert Counter(map(_text, kafka.records)) == Counter(
        _text(said_by(event, client)) for event in events
    )
    assert len(events) == 2 * TASKS + 5
    # No Collector here takes spans.
    assert losses(tmp_path / "dropped").keys() <= {"spans"}


def _text(said: dict[str, Any]) -> str:
    return json.dumps(without_numbers(said), sort_keys=True)
