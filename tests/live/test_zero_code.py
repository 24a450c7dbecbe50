"""`opentelemetry-instrument` on an application that does not name huey-otel."""

import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis

from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Receiver, Span
from tests.live.processes import HUEY_CONSUMER, Program
from tests.live.scraping import metrics, value
from tests.support.programs import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

COMMAND = str(Path(sys.executable).with_name("opentelemetry-instrument"))
APPLICATION = "tests.live.apps.not_instrumented"
QUICK = ("-d", "0.02", "-m", "0.1", "-n")

# What `opentelemetry-distro` sets up, and an environment without it.
DISTRO = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
BARE = {"OTEL_PYTHON_DISTRO": "none", "OTEL_PYTHON_CONFIGURATOR": "none"}

HUEYS_COMMANDS = {
    *("BRPOP", "EVALSHA", "HDEL", "HMGET", "HSET", "INCRBY", "LPUSH", "SCRIPT LOAD"),
}


@pytest.fixture
def run(keep, redis_url, tmp_path):
    """Starts Python with *arguments* under `opentelemetry-instrument`."""

    def run(*arguments: str, **environ: str) -> Program:
        program = Program(
            sys.executable,
            *arguments,
            log=tmp_path / f"{len(list(tmp_path.iterdir()))}.log",
            environ={"LIVE_QUEUE_URL": redis_url} | environ,
            executable=COMMAND,
        )
        return keep(program)

    return run


@pytest.mark.parametrize(
    ("kind", "protocol", "environ"),
    [
        ("process", HTTP, BARE),
        ("thread", GRPC, BARE),
        ("process", GRPC, DISTRO),
        ("thread", HTTP, DISTRO),
    ],
    ids=["process-alone", "thread-alone", "process-distro", "thread-distro"],
)
def test_an_application_without_our_code_is_observed(
    run, redis_url, received, kind, protocol, environ
):
    port = free_port()
    with otlp.receiver(protocol) as receiver, redis.Redis.from_url(redis_url) as conn:
        everywhere = {**environ, **receiver.environ, "OTEL_SERVICE_NAME": "untouched"}
        consumer = run(
            *(*HUEY_CONSUMER, f"{APPLICATION}.huey", "-k", kind, "-w", "2", *QUICK),
            **everywhere,
            HUEY_OTEL_METRICS_PORT=str(port),
        )
        producer = run("-m", APPLICATION, "0", "1", "2", **everywhere)
        assert producer.wait() == 0
        wait_until(lambda: conn.get("done") == b"5")
        wait_until(lambda: _failed(port) == 1)
        page = metrics(port)
        assert consumer.stop(signal.SIGTERM) == 0

        spans = receiver.spans
    counted = _counted(spans)
    # The application's own commands have spans, the bridge's have none.
    assert counted.pop(("INCRBY", "process add")) == 3
    assert counted.pop(("LPUSH", "enqueue add")) == 3
    of_redis = {pair: number for pair, number in counted.items() if pair[0].isupper()}
    assert {name for name, _ in of_redis} == HUEYS_COMMANDS
    assert counted - Counter(of_redis) == {
        ("enqueue add", None): 3,
        ("process add", "enqueue add"): 3,
        ("enqueue divide", "process add"): 1,
        ("process divide", "enqueue divide"): 2,
    }
    assert {span.resource["service.name"] for span in spans} == {"untouched"}
    add, divide = f"{APPLICATION}.add", f"{APPLICATION}.divide"
    assert value(page, "huey_task_attempts_total", task=add) == 3
    assert value(page, "huey_task_attempts_total", task=divide) == 2
    assert Counter(event["status"] for event in received.catch_up()) == {
        "started": 5,
        "finished": 3,
        "error-task": 2,
        "retrying": 1,
    }


def _failed(port: int) -> float | None:
    return value(
        metrics(port),
        "huey_tasks_finished_total",
        task=f"{APPLICATION}.divide",
        outcome="failure",
    )


def _counted(spans: list[Span]) -> Counter[tuple[str, str | None]]:
    names = {span.span_id: _short(span) for span in spans}
    return Counter((_short(span), names.get(span.parent_id or "")) for span in spans)


def _short(span: Span) -> str:
    operation, _, path = span.name.partition(" ")
    return f"{operation} {path.rpartition('.')[2]}".strip()


def test_the_conventions_metrics_come_from_one_process(run, redis_url):
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as conn:
        everywhere = {
            **receiver.environ,
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_METRIC_EXPORT_INTERVAL": "200",
            "HUEY_OTEL_SEMCONV_METRICS": "1",
            "HUEY_OTEL_METRICS_PORT": "0",
        }
        # Workers that are forked late have what the main process had counted.
        options = ("-k", "process", "-w", "2", "-M", "3", "-c", "0.2", *QUICK)
        consumer = run(
            *(*HUEY_CONSUMER, f"{APPLICATION}.huey", *options),
            **everywhere,
            OTEL_SERVICE_NAME="consumer",
        )
        numbers = [str(number) for number in range(20)]
        producer = run(
            *("-m", APPLICATION, *numbers), **everywhere, OTEL_SERVICE_NAME="producer"
        )
        assert producer.wait() == 0
        wait_until(lambda: conn.get("done") == b"22")
        consumer.wait_until_it_consumes()
        assert consumer.stop(signal.SIGTERM) == 0

        points = receiver.points
    instances = {point.resource["service.instance.id"] for point in points}
    counted = {
        (
            point.resource["service.name"],
            point.name.removeprefix("messaging."),
            _path(point.attributes["huey.task.name"]),
            point.attributes.get("error.type"),
        ): point.count
        for point in points
    }
    assert len(instances) == 2
    assert counted == {
        ("producer", "client.sent.messages", "add", None): 20,
        ("producer", "client.operation.duration", "add", None): 20,
        ("consumer", "client.sent.messages", "divide", None): 1,
        ("consumer", "client.operation.duration", "divide", None): 1,
        ("consumer", "client.consumed.messages", "add", None): 20,
        ("consumer", "client.consumed.messages", "divide", None): 2,
        ("consumer", "process.duration", "add", None): 20,
        ("consumer", "process.duration", "divide", "ZeroDivisionError"): 2,
    }


def _path(name: str) -> str:
    return name.removeprefix(f"{APPLICATION}.")


def test_it_can_be_turned_off_by_its_name(run, redis_url, received):
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as conn:
        off = _environ(receiver, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="huey")
        consumer = run(*HUEY_CONSUMER, f"{APPLICATION}.huey", *QUICK, **off)
        assert run("-m", APPLICATION, "1", "2", **off).wait() == 0
        wait_until(lambda: conn.get("done") == b"2")
        consumer.wait_until_it_consumes()
        assert consumer.stop() == 0

        assert receiver.spans == []
    assert received.catch_up() == []
    assert "huey-otel" not in consumer.log


def _environ(receiver: Receiver, **more: str) -> dict[str, str]:
    return {**BARE, **receiver.environ, **more}


def test_a_wrong_setting_is_logged_and_the_application_runs(run, redis_url):
    with otlp.receiver() as receiver, redis.Redis.from_url(redis_url) as conn:
        wrong = _environ(receiver, HUEY_OTEL_PROPAGATION="sideways")
        consumer = run(*HUEY_CONSUMER, f"{APPLICATION}.huey", *QUICK, **wrong)
        assert run("-m", APPLICATION, "1", **wrong).wait() == 0
        wait_until(lambda: conn.get("done") == b"1")
        consumer.wait_until_it_consumes()
        assert consumer.stop() == 0

    assert "HUEY_OTEL_PROPAGATION='sideways': expected one of" in consumer.log
