"""`opentelemetry-instrument` with OpenTelemetry's configuration file."""

import re
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis

from runtime import otlp_receiver as otlp
from tests.live.processes import HUEY_CONSUMER, Program
from tests.live.scraping import metrics, value
from tests.support.programs import free_port, snippet
from tests.support.waiting import wait_until

pytest.importorskip(
    "opentelemetry.configuration", reason="the oldest OpenTelemetry has no such file"
)
pytestmark = pytest.mark.once

COMMAND = str(Path(sys.executable).with_name("opentelemetry-instrument"))
APPLICATION = "tests.live.apps.not_instrumented"
CONSUMER = (*HUEY_CONSUMER, f"{APPLICATION}.huey", "-w", "2", "-d", "0.02", "-n")
ENDED = "huey_tasks_finished_total"
FAILED = {"task": f"{APPLICATION}.divide", "outcome": "failure"}
FILE = snippet("docs/traces.md", "configuration file")
PORT = "metrics_port: ${METRICS_PORT:-9464}"


@pytest.fixture
def run(keep, redis_url, tmp_path):
    """Starts Python with *arguments* and the configuration *file*."""

    def run(file: str, *arguments: str, **environ: str) -> Program:
        path = tmp_path / "otel.yaml"
        path.write_text(file)
        program = Program(
            sys.executable,
            *arguments,
            log=tmp_path / f"{len(list(tmp_path.iterdir()))}.log",
            environ={
                "LIVE_QUEUE_URL": redis_url,
                "OTEL_CONFIG_FILE": str(path),
                **environ,
            },
            executable=COMMAND,
        )
        return keep(program)

    return run


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_everything_goes_where_the_file_says(run, redis_url, received, kind):
    port = free_port()
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as conn:
        everywhere = {
            "COLLECTOR": receiver.environ["OTEL_EXPORTER_OTLP_ENDPOINT"],
            # What the file says counts, and what stands in a variable does not.
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
            "OTEL_SERVICE_NAME": "of a variable",
            "HUEY_OTEL_TRACEBACKS": "on",
        }
        consumer = run(
            FILE, *CONSUMER, "-k", kind, METRICS_PORT=str(port), **everywhere
        )
        producer = run(FILE, "-m", APPLICATION, "0", "1", "2", **everywhere)
        assert producer.wait() == 0
        wait_until(lambda: conn.get("done") == b"5")
        wait_until(lambda: value(metrics(port), ENDED, **FAILED) == 1)
        page = metrics(port)
        assert consumer.stop(signal.SIGTERM) == 0

        spans, logs, points = receiver.spans, receiver.logs, receiver.points
    bounds = re.findall(r'^huey_task_duration_seconds_bucket.*?le="(.+?)"', page, re.M)
    assert set(bounds) == {"0.1", "1.0", "10.0", "60.0", "+Inf"}
    assert Counter(_short(span.name) for span in spans if not span.name.isupper()) == {
        "enqueue add": 3,
        "process add": 3,
        "enqueue divide": 1,
        "process divide": 2,
    }
    statuses = {"started": 5, "finished": 3, "error-task": 2, "retrying": 1}
    assert Counter(log.event_name for log in logs if log.scope == "huey-otel") == {
        f"huey.task.{status}": number for status, number in statuses.items()
    }
    events = received.catch_up()
    assert Counter(event["status"] for event in events) == statuses
    assert {event.get("traceback") for event in events} == {None}
    attempts = [point for point in points if point.name == "messaging.process.duration"]
    assert max(point.count for point in attempts) == 3
    assert {one.resource["service.name"] for one in (*spans, *logs, *attempts)} == {
        "shop"
    }


def _short(name: str) -> str:
    operation, _, path = name.partition(" ")
    return f"{operation} {path.rpartition('.')[2]}"


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (
            PORT,
            "metrics_port: 99999",
            "metrics_port=99999: expected a port from 0 (a free one) to 65535, or off"
            " (None) for no metrics page",
        ),
        (
            PORT,
            "metric_port: 9464",
            "does not know metric_port (did you mean metrics_port?); accepted are"
            " events, channel, ",
        ),
        (
            "events: redis,otlp",
            "events: otlp\n      stream: on",
            "stream=True: no events go to Redis; expected stream=None, or events= with"
            " a Redis",
        ),
    ],
)
def test_a_wrong_option_turns_the_bridge_off_and_the_tasks_run(
    run, redis_url, received, right, wrong, said
):
    file = FILE.replace(right, wrong)
    assert file != FILE
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as conn:
        collector = receiver.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
        consumer = run(file, *CONSUMER, COLLECTOR=collector)
        producer = run(file, "-m", APPLICATION, "1", COLLECTOR=collector)
        assert producer.wait() == 0
        wait_until(lambda: conn.get("done") == b"1")
        assert consumer.stop(signal.SIGTERM) == 0

    off = re.search("^huey-otel is off: .*$", consumer.log, re.M)
    assert off is not None
    assert said in off[0]
    assert received.catch_up() == []


@pytest.mark.parametrize(
    ("of_huey", "environ"),
    [
        ("", {"HUEY_OTEL_DISABLED": "1"}),
        ("enabled: false", {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "huey"}),
    ],
)
def test_the_bridge_is_off_where_the_docs_say_how(
    run, redis_url, received, of_huey, environ
):
    file = FILE.replace(PORT, of_huey)
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as conn:
        collector = receiver.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
        consumer = run(file, *CONSUMER, COLLECTOR=collector, **environ)
        producer = run(file, "-m", APPLICATION, "1", COLLECTOR=collector, **environ)
        assert producer.wait() == 0
        wait_until(lambda: conn.get("done") == b"1")
        assert consumer.stop(signal.SIGTERM) == 0

    assert "huey-otel" not in consumer.log
    assert received.catch_up() == []
