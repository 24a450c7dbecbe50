"""Events of real consumers and producers as log records, at a real OTLP receiver."""

import datetime
import json
import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis

from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Answer
from tests.live.processes import PATIENT, Consumer, Program, losses
from tests.live.received_events import ReceivedEvents
from tests.live.scraping import metrics, value
from tests.support.event_logs import (
    needs_event_names,
    said_by,
    saying,
    without_numbers,
)
from tests.support.programs import free_port, run_program
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.once, needs_event_names]

Start = Callable[..., Consumer]
Application = Callable[..., ModuleType]

BOTH = {"HUEY_OTEL_EVENTS": "redis,otlp"}
ALONE = {"HUEY_OTEL_EVENTS": "otlp"}
NO_SPANS = {"OTEL_TRACES_EXPORTER": "none"}


def sorted_texts(said: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(
        json.dumps(without_numbers(one), sort_keys=True, default=str) for one in said
    )


def enqueue_all_kinds(app: ModuleType) -> None:
    """Enqueue a task for each way to end that needs no wait."""
    ended = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    revoked = app.add.s(1, 2)
    app.huey.revoke(revoked)
    app.huey.enqueue(revoked)
    app.huey.enqueue(app.add.s(1, 2, expires=ended))
    app.add.schedule((1, 2), delay=0.5)
    app.fail("žluť")
    app.fail_first_and_wait("key")
    app.ask_for_retry("another key")
    app.cancel()
    app.find_no_room()
    app.huey.storage.enqueue(b"no message")
    if hasattr(app, "overrun"):
        app.overrun()
        app.limited()


KINDS = {
    *("huey.task.started", "huey.task.finished", "huey.task.error-task"),
    *("huey.task.retrying", "huey.task.scheduled", "huey.task.revoked"),
    *("huey.task.expired", "huey.task.canceled", "huey.task.locked"),
    *("huey.consumer.error-dequeueing", "huey.consumer.checking-periodic"),
    *("huey.task.scheduling-periodic", "huey.task.timeout", "huey.task.rate-limited"),
}


@pytest.mark.proof_but("http/protobuf-process", "grpc-thread")
@pytest.mark.parametrize("kind", ["thread", "process"])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_log_record_says_what_the_event_on_redis_says(
    consumer: Start,
    application: Application,
    received: ReceivedEvents,
    kind: str,
    protocol: str,
) -> None:
    app = application()
    with otlp.receiver(protocol) as receiver:
        running = consumer(kind, "-c", "0.2", **BOTH, **receiver.environ)
        wait_until(lambda: received.count("checking-periodic") > 0)
        enqueue_all_kinds(app)
        if kind == "process":
            started = received.wait_for(app.sleep(60).id, 1)[0]
            os.kill(started["pid"], signal.SIGKILL)
            wait_until(lambda: received.count("lost") == 1)
        last = app.add(0, 0)
        received.wait_for(last.id, 2)
        wait_until(lambda: received.count("scheduled") == 2)
        wait_until(lambda: len(app.huey) == 0)
        wait_until(lambda: not app.huey.scheduled())
        running.stop_after_kills()

        logs, spans = receiver.logs, receiver.spans
    events = received.catch_up()
    client = f"{events[0]['host']}:{running.pid}"
    assert sorted_texts(map(saying, logs)) == sorted_texts(
        said_by(event, client) for event in events
    )
    wanted = KINDS | ({"huey.task.lost"} if kind == "process" else set())
    assert {log.event_name for log in logs} >= wanted
    # Numbered on their own, without a gap.
    seqs = sorted(log.attributes["huey.event.seq"] for log in logs)
    assert seqs == [*range(1, len(logs) + 1)]
    (resource,) = {json.dumps(log.resource, sort_keys=True) for log in logs}
    assert json.loads(resource)["process.pid"] == running.pid
    if kind == "thread":
        # A worker that is killed takes spans with it.
        sent = {(log.trace_id, log.span_id) for log in logs if log.span_id}
        assert sent <= {(span.trace_id, span.span_id) for span in spans}
        own = {json.dumps(span.resource, sort_keys=True) for span in spans}
        assert own == {resource}
    assert {log.scope for log in logs} == {"huey-otel"}


@pytest.mark.parametrize("foreign", [{}, {"LIVE_FOREIGN": "1"}], ids=["ours", "own"])
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_exceptions_leave_spans_for_log_records(
    consumer: Start, application: Application, kind: str, foreign: dict[str, str]
) -> None:
    app = application("traced")
    with otlp.receiver() as receiver:
        opted_in = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs"}
        running = consumer(
            *(kind, "-n"),
            application="traced",
            **(ALONE | receiver.environ | opted_in | foreign),
        )
        app.refuse()
        assert receiver.wait_for_logs(
            lambda logs: sum(one.event_name.endswith("error-task") for one in logs) == 2
        )
        running.wait_until_started()
        running.stop()

        failed = [one for one in receiver.spans if one.status == "ERROR"]
        logs = [one for one in receiver.logs if "exception.type" in one.attributes]
    assert [one.events for one in failed] == [()] * 2
    assert {one.attributes["error.type"] for one in failed} == {"ValueError"}
    assert {one.attributes["exception.type"] for one in logs} == {"ValueError"}
    assert sorted((one.trace_id, one.span_id) for one in logs) == sorted(
        (one.trace_id, one.span_id) for one in failed
    )


def test_alone_nothing_is_published_on_redis(
    consumer: Start, application: Application, received: ReceivedEvents
) -> None:
    app = application()
    with otlp.receiver() as receiver:
        running = consumer("thread", "-n", **ALONE, **receiver.environ)
        assert app.add(1, 2).get(blocking=True, timeout=60) == 3
        assert receiver.wait_for_logs(lambda logs: len(logs) == 2)
        running.wait_until_started()
        running.stop()

        names = [log.event_name for log in receiver.logs]
    assert names == ["huey.task.started", "huey.task.finished"]
    assert received.catch_up() == []
    place = receiver.endpoint.removeprefix("http://")
    told = " ".join(running.log.split())
    assert f"events: as log records over OTLP/HTTP to {place} spans:" in told


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_producers_events_arrive_before_it_ends(produce, protocol: str) -> None:
    with otlp.receiver(protocol) as receiver:
        environ = {"HUEY_OTEL_PUBLISH_ENQUEUED": "1", **ALONE, **receiver.environ}
        produce("count", "20", **environ)

        logs, spans = receiver.logs, receiver.spans
    assert Counter(log.event_name for log in logs) == {"huey.task.enqueued": 20}
    assert {log.attributes["huey.task.origin"] for log in logs} == {"call"}
    assert [log.resource for log in logs] == [span.resource for span in spans]
    assert not [log for log in logs if "huey.worker.name" in log.attributes]


@pytest.mark.parametrize("provider", ["argument", "global"])
@pytest.mark.parametrize("kind", ["thread", "process"])
def test_the_applications_provider_gets_them(
    consumer: Start, keep, redis_url: str, tmp_path: Path, provider: str, kind: str
) -> None:
    with otlp.receiver() as receiver:
        environ = {"LIVE_PROVIDER": provider, **receiver.environ, **NO_SPANS}
        producer = Program(
            *("-c", "from tests.live.apps.own_logs import add; add.map([(1, 2)] * 20)"),
            log=tmp_path / "producer",
            environ={"LIVE_QUEUE_URL": redis_url} | environ,
        )
        assert keep(producer).wait() == 0
        dropped = tmp_path / "dropped"
        running = consumer(
            *(kind, "-n"),
            application="own_logs",
            LIVE_DROPPED=str(dropped),
            **environ,
        )
        assert receiver.wait_for_logs(lambda logs: len(logs) >= 40)
        running.wait_until_started()
        running.stop()

        logs = receiver.logs
    assert Counter(log.event_name for log in logs) == {
        "huey.task.started": 20,
        "huey.task.finished": 20,
    }
    assert {log.resource["service.name"] for log in logs} == {"the application's"}
    assert losses(dropped) == {}
    whose = {
        "argument": "the logger_provider= given",
        "global": "the application's logger provider",
    }
    told = " ".join(running.log.split())
    assert f"events: as log records to {whose[provider]} " in told


SCRIPT = """
    import os

    if "LIVE_PATCH" in os.environ:
        from gevent import monkey
        monkey.patch_all()

    from huey import MemoryHuey
    from tests.live.apps.patience import be_patient
    from opentelemetry import _logs as logs
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from huey_otel import instrument

    def make():
        provider = LoggerProvider()
        provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
        return provider

    be_patient()
    huey, whose = MemoryHuey("live"), os.environ["LIVE_PROVIDER"]
    if whose == "global before":
        logs.set_logger_provider(make())
    instrument(huey, logger_provider=make() if whose == "argument" else None)
    if whose == "global after":
        logs.set_logger_provider(make())

    @huey.task()
    def add():
        pass

    for _ in range(5):
        add()
"""


@pytest.mark.parametrize("patch", [{}, {"LIVE_PATCH": "1"}], ids=["", "greenlets"])
@pytest.mark.parametrize(
    "provider", ["argument", "global before", "global after", "of the environment"]
)
def test_a_script_that_ends_at_once_loses_no_event(
    provider: str, patch: dict[str, str]
) -> None:
    """The SDK shuts down an application's provider before `atexit` comes to ours."""
    with otlp.receiver() as receiver:
        done = run_program(
            SCRIPT,
            LIVE_PROVIDER=provider,
            HUEY_OTEL_PUBLISH_ENQUEUED="1",
            **(PATIENT | ALONE | NO_SPANS | receiver.environ | patch),
        )

        seqs = [log.attributes["huey.event.seq"] for log in receiver.logs]
    assert (done.returncode, seqs) == (0, [1, 2, 3, 4, 5]), done.stderr


TASKS = 40
QUICK = ("-n", "-d", "0.02", "-m", "0.1")
COLLECTORS = {
    "is well": (Answer(), None),
    "refuses": (Answer(refusal="INVALID_ARGUMENT"), "logs"),
    "is too busy": (Answer(refusal="RESOURCE_EXHAUSTED"), "logs"),
    "closes connections": (Answer(closes=True), "logs"),
    "rejects some": (Answer(rejected=2, message="no"), "logs_rejected"),
    "is slow": (Answer(seconds=0.3), None),
}


@pytest.mark.proof_but(
    "process-http/protobuf-refuses",
    "process-grpc-rejects some",
    "process-http/protobuf-closes connections",
    "thread-http/protobuf-is slow",
    "thread-grpc-is well",
)
@pytest.mark.parametrize(
    ("answer", "reason"), COLLECTORS.values(), ids=COLLECTORS.keys()
)
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_made_is_arrived_and_counted(
    consumer: Start, produce, conn, tmp_path, kind, protocol, answer, reason
) -> None:
    produce("count", str(TASKS))
    with otlp.receiver(protocol) as receiver:
        receiver.answer = answer
        running = consumer(
            *(kind, "-w", "2", *QUICK),
            application="traced",
            LIVE_DROPPED=str(tmp_path / "dropped"),
            # An answer that is none must not be waited for.
            OTEL_EXPORTER_OTLP_TIMEOUT="1" if reason == "logs" else "60",
            **(ALONE | NO_SPANS | receiver.environ),
        )
        wait_until(done(conn, TASKS))
        running.wait_until_started()
        running.stop(signal.SIGTERM)

        seqs = [log.attributes["huey.event.seq"] for log in receiver.logs]
    lost = losses(tmp_path / "dropped")
    assert lost.keys() == (set() if reason is None else {reason})
    assert len(seqs) == len(set(seqs))
    assert len(seqs) + sum(lost.values()) == 2 * TASKS


@pytest.mark.proof_but("refusing-http/protobuf-process", "black_hole-grpc-thread")
@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("away", [otlp.refusing, otlp.black_hole])
def test_what_a_collector_that_is_away_costs_is_on_the_page_and_in_the_count(
    consumer: Start, produce, conn, tmp_path, away, protocol, kind
) -> None:
    port = free_port()

    def lost() -> float:
        page = metrics(port)
        name = "huey_telemetry_dropped_total"
        return value(page, name, queue="live", signal="event", reason="logs") or 0.0

    produce("count", str(TASKS))
    with away(protocol) as receiver:
        running = consumer(
            *(kind, "-w", "2", *QUICK),
            application="traced",
            HUEY_OTEL_METRICS_PORT=str(port),
            LIVE_DROPPED=str(tmp_path / "dropped"),
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            **(ALONE | NO_SPANS | receiver.environ),
        )
        wait_until(done(conn, TASKS))
        wait_until(lambda: lost() == 2 * TASKS)
        produce("count", "1")
        wait_until(done(conn, TASKS + 1))
        running.wait_until_started()
        running.stop(signal.SIGTERM)

    counted = losses(tmp_path / "dropped")
    assert counted.keys() <= {"logs", "logs_shutdown"}
    assert sum(counted.values()) == 2 * TASKS + 2
    assert running.log.count("events of live as log records: they could not be") == 1


FLUSH_TIMEOUT = 6.0


@pytest.mark.proof_but("black_hole-http/protobuf-thread", "refusing-grpc-process")
@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("away", [otlp.refusing, otlp.black_hole])
def test_a_dead_collector_delays_the_end_by_flush_timeout_at_most(
    consumer: Start, produce, conn, away, protocol, kind
) -> None:
    def seconds_to_end(**environ: str) -> float:
        conn.delete("done")
        produce("count", "20")
        running = consumer(
            *(kind, "-w", "4", *QUICK),
            application="traced",
            HUEY_OTEL_FLUSH_TIMEOUT=str(FLUSH_TIMEOUT),
            **environ,
        )
        wait_until(done(conn, 20))
        running.wait_until_started()
        began = time.monotonic()
        running.stop(signal.SIGTERM)
        return time.monotonic() - began

    delay = math.inf
    # A busy machine only makes it longer.
    for _ in range(3):
        bare = seconds_to_end()
        with away(protocol) as receiver:
            delayed = seconds_to_end(**(ALONE | NO_SPANS | receiver.environ))
        sys.stdout.write(f"bare {bare:.2f} s, with log records {delayed:.2f} s\n")
        delay = min(delay, delayed - bare)
        if delay < 1.5 * FLUSH_TIMEOUT:
            return
    pytest.fail(f"{delay:.2f} s, with a flush timeout of {FLUSH_TIMEOUT} s")


def test_a_redis_that_is_away_does_not_hold_them_up(
    consumer: Start, application: Application
) -> None:
    app = application()
    with otlp.receiver() as receiver:
        events = f"redis://127.0.0.1:{free_port()}/0,otlp"
        running = consumer(
            *("thread", "-n"),
            HUEY_OTEL_EVENTS=events,
            HUEY_OTEL_FLUSH_TIMEOUT="1",
            **(NO_SPANS | receiver.environ),
        )
        app.add(1, 2)

        assert receiver.wait_for_logs(lambda logs: len(logs) == 2)
        running.wait_until_started()
        running.stop()


def test_a_collector_that_never_answers_does_not_hold_redis_up(
    consumer: Start, application: Application, received: ReceivedEvents
) -> None:
    app = application()
    with otlp.black_hole(GRPC) as receiver:
        running = consumer(
            *("thread", "-n"),
            HUEY_OTEL_FLUSH_TIMEOUT="0.5",
            **(BOTH | NO_SPANS | receiver.environ),
        )
        for number in range(10):
            assert len(received.wait_for(app.add(number, 1).id, 2)) == 2
        running.wait_until_started()
        running.stop()


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_greenlets_send_theirs(
    consumer: Start, application: Application, tmp_path: Path, protocol: str
) -> None:
    app = application("greenlets")
    with otlp.receiver(protocol) as receiver:
        for number in range(50):
            app.add(number, 1)
        dropped = tmp_path / "dropped"
        running = consumer(
            *("greenlet", "-n", "-w", "8"),
            application="greenlets",
            LIVE_PATCH="first",
            LIVE_DROPPED=str(dropped),
            **(ALONE | NO_SPANS | receiver.environ),
        )
        assert receiver.wait_for_logs(lambda logs: len(logs) >= 100)
        running.wait_until_started()
        assert running.stop() == 0

        names = Counter(log.event_name for log in receiver.logs)
    assert names == {"huey.task.started": 50, "huey.task.finished": 50}
    assert losses(dropped) == {}


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_greenlets_that_live_on_in_a_child_send_nothing_there(
    keep: Callable[[Program], Program], redis_url: str, tmp_path: Path, protocol: str
) -> None:
    with otlp.receiver(protocol) as receiver:
        program = Program(
            *("-W", "ignore", "-m", "tests.live.apps.greenlets_web", "fork"),
            log=tmp_path / "log",
            environ={
                "LIVE_QUEUE_URL": redis_url,
                "LIVE_PATCH": "first",
                **(ALONE | NO_SPANS | receiver.environ),
            },
        )
        assert keep(program).wait() == 0

        logs = receiver.logs
    (line,) = program.log.splitlines()
    told = json.loads(line)
    assert (told["queued"], told["lost"], told["delivered"]) == (410, {}, True)
    assert {log.event_name for log in logs} == {"huey.task.enqueued"}
    # One publisher, the parent: each event once, and none is missing.
    assert len({log.attributes["huey.event.publisher"] for log in logs}) == 1
    seqs = [log.attributes["huey.event.seq"] for log in logs]
    assert seqs == [*range(1, 411)]


def done(conn: redis.Redis, number: int) -> Callable[[], bool]:
    return lambda: int(conn.get("done") or 0) >= number
