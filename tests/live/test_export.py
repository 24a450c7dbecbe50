"""Spans of real consumers, as a real OTLP receiver gets them."""

import math
import signal
import socket
import sys
import time
from collections.abc import Callable

import pytest
import redis

from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Receiver, Span
from tests.live.processes import Consumer
from tests.live.scraping import metrics, value
from tests.support.programs import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.once

TASKS = 500
QUICK = ("-d", "0.02", "-m", "0.1")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

Produce = Callable[..., None]
Start = Callable[..., Consumer]


def done(conn: redis.Redis, number: int) -> Callable[[], bool]:
    return lambda: int(conn.get("done") or 0) >= number


def end(running: Consumer, signum: signal.Signals) -> None:
    """Send *signum*; end a consumer that only restarts at it."""
    running.send(signum)
    if signum == signal.SIGHUP:
        wait_until(lambda: "Consumer will restart" in running.log)
        wait_until(lambda: running.log.count("Huey consumer started") == 2)
        running.wait_until_started()
        running.send(signal.SIGINT)
    running.wait()


def run_to_the_end(
    consumer: Start,
    produce: Produce,
    conn: redis.Redis,
    receiver: Receiver,
    kind: str,
    signum: signal.Signals,
    *options: str,
) -> None:
    produce("count", str(TASKS), **receiver.environ)
    running = consumer(
        *(kind, "-w", "4", *QUICK, *options),
        application="traced",
        LIVE_WARM="1",
        **receiver.environ,
    )
    wait_until(done(conn, TASKS))
    end(running, signum)
    assert "(counted as spans)" not in running.log


def counted(spans: list[Span], name: str) -> int:
    found = [span.span_id for span in spans if span.name.endswith(f"traced.{name}")]
    assert len(set(found)) == len(found)
    return len(found)


def arrived(receiver: Receiver) -> tuple[set[str], list[Span]]:
    """The ids of the enqueues' spans, and the spans of the attempts."""
    spans = [span for span in receiver.spans if span.name.endswith(".count")]
    enqueued = {span.span_id for span in spans if span.kind == "PRODUCER"}
    return enqueued, [span for span in spans if span.kind == "CONSUMER"]


def assert_all_arrived(receiver: Receiver) -> None:
    enqueued, processed = arrived(receiver)
    assert (len(enqueued), len(processed)) == (TASKS, TASKS)
    assert {span.parent_id for span in processed} == enqueued
    assert len({span.span_id for span in processed}) == TASKS


@pytest.mark.proof_but("process-SIGTERM", "process-SIGHUP", "thread-SIGINT")
@pytest.mark.parametrize("signum", SIGNALS, ids=lambda signum: signum.name)
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_every_span_arrives_over_http(consumer, produce, conn, kind, signum):
    with otlp.receiver(HTTP) as receiver:
        run_to_the_end(consumer, produce, conn, receiver, kind, signum)

        assert_all_arrived(receiver)


@pytest.mark.proof
def test_a_foreign_exporter_used_before_the_fork_holds_nothing_up(
    consumer, produce, conn
):
    """It exports nothing twice either; docs/traces.md says what it loses."""
    with otlp.receiver(HTTP) as receiver:
        produce("count", str(TASKS), **receiver.environ)
        running = consumer(
            *("process", "-w", "4", *QUICK),
            application="traced",
            LIVE_FOREIGN="1",
            LIVE_WARM="1",
            OTEL_BSP_SCHEDULE_DELAY="5",
            **receiver.environ,
        )
        wait_until(done(conn, TASKS))
        end(running, signal.SIGTERM)

        enqueued, processed = arrived(receiver)
        assert len(enqueued) == TASKS
        assert {span.parent_id for span in processed} <= enqueued
        assert 0 < len(processed) == len({span.span_id for span in processed})


def test_every_span_arrives_over_grpc(consumer, produce, conn):
    with otlp.receiver(GRPC) as receiver:
        run_to_the_end(consumer, produce, conn, receiver, "process", signal.SIGTERM)

        assert_all_arrived(receiver)


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_every_span_of_recycled_workers_arrives(consumer, produce, conn, protocol):
    with otlp.receiver(protocol) as receiver:
        run_to_the_end(
            *(consumer, produce, conn, receiver, "process", signal.SIGTERM),
            *("-M", "20", "-c", "0.2"),
        )

        assert_all_arrived(receiver)


def test_compressed_spans_arrive(consumer, produce, conn, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with otlp.receiver(HTTP) as receiver:
        produce("count", "3", **receiver.environ)

        assert counted(receiver.spans, "count") == 3


@pytest.mark.proof_but("http/protobuf-process", "grpc-thread")
@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_request_its_task_and_its_pipeline_are_one_trace(
    consumer, produce, conn, protocol, kind
):
    with otlp.receiver(protocol) as receiver:
        produce("request", **receiver.environ)
        running = consumer(kind, *QUICK, application="traced", **receiver.environ)
        wait_until(done(conn, 1))
        end(running, signal.SIGTERM)

        spans = receiver.spans
    assert tree(spans) == {
        "request": {
            "enqueue work": {
                "process work": {
                    "inside": {"enqueue nested": {"process nested": {}}},
                    "enqueue after": {"process after": {}},
                }
            }
        }
    }
    assert len({span.trace_id for span in spans}) == 1
    assert {span.resource["service.name"] for span in spans} == {"live"}
    assert {span.resource["host.name"] for span in spans} == {socket.gethostname()}
    ran = {only(spans, name).resource["process.pid"] for name in (WORK, "inside")}
    (pid,) = ran
    assert (pid == running.pid) is (kind == "thread")


def tree(spans: list[Span], parent: str | None = None) -> dict[str, object]:
    return {
        _short(span.name): tree(spans, span.span_id)
        for span in sorted(spans, key=lambda span: span.start)
        if span.parent_id == parent
    }


def _short(name: str) -> str:
    operation, _, path = name.partition(" ")
    return f"{operation} {path.rpartition('.')[2]}".strip()


@pytest.mark.parametrize("foreign", [False, True], ids=["ours", "foreign"])
def test_a_killed_workers_attempt_has_a_span(
    consumer, produce, conn, redis_url, foreign
):
    environ = {"LIVE_FOREIGN": "1"} if foreign else {}
    with otlp.receiver(HTTP) as receiver:
        produce("hang", **environ, **receiver.environ)
        running = consumer(
            *("process", *QUICK, "-c", "0.2"),
            application="traced",
            OTEL_BSP_SCHEDULE_DELAY="50",
            **environ,
            **receiver.environ,
        )
        _, pid = conn.blpop("hangs", timeout=60)
        if not foreign:
            assert receiver.wait(lambda spans: "inside" in names(spans))
        kill(int(pid))
        assert receiver.wait(lambda spans: f"process {HANG}" in names(spans))
        end(running, signal.SIGTERM)

        spans = receiver.spans
    lost = only(spans, f"process {HANG}")
    enqueued = only(spans, f"enqueue {HANG}")
    assert lost.attributes["huey.task.outcome"] == "lost"
    assert (lost.status, lost.message) == ("ERROR", "the worker died")
    assert (lost.trace_id, lost.parent_id) == (enqueued.trace_id, enqueued.span_id)
    assert lost.seconds > 0
    assert lost.links == ()
    if foreign:
        assert {"host.name", "process.pid"}.isdisjoint(lost.resource)
    else:
        inside = only(spans, "inside")
        assert inside.parent_id == lost.span_id
        # The consumer's main process exported one of them for its dead worker.
        assert inside.resource == lost.resource
        assert lost.resource["process.pid"] == int(pid)


def test_a_killed_workers_attempt_keeps_its_links(consumer, produce, conn):
    with otlp.receiver(HTTP) as receiver:
        produce("stumble", **receiver.environ)
        running = consumer(
            *("process", "-w", "1", *QUICK, "-c", "0.2"),
            application="traced",
            HUEY_OTEL_PROPAGATION="link",
            OTEL_BSP_SCHEDULE_DELAY="50",
            **receiver.environ,
        )
        _, pid = conn.blpop("hangs", timeout=60)
        assert receiver.wait(lambda spans: f"process {STUMBLE}" in names(spans))
        kill(int(pid))
        assert receiver.wait(lambda spans: len(spans) == 3)
        end(running, signal.SIGTERM)

        spans = receiver.spans
    enqueued = only(spans, f"enqueue {STUMBLE}")
    failed, lost = (span for span in spans if span is not enqueued)
    assert lost.attributes["huey.task.outcome"] == "lost"
    assert lost.attributes["huey.task.wait"] >= 0
    assert lost.attributes.keys() == failed.attributes.keys()
    assert [(link.span_id, link.attributes) for link in lost.links] == [
        (enqueued.span_id, {}),
        (failed.span_id, {"huey.link": "retry"}),
    ]


def test_a_worker_that_is_killed_in_what_follows_a_run_leaves_its_span(
    consumer, produce, conn
):
    with otlp.receiver(HTTP) as receiver:
        produce("count", "1", **receiver.environ)
        running = consumer(
            *("process", "-w", "1", *QUICK, "-c", "0.2"),
            application="traced",
            LIVE_LINGER="1",
            OTEL_BSP_SCHEDULE_DELAY="50",
            **receiver.environ,
        )
        _, pid = conn.blpop("hangs", timeout=60)
        kill(int(pid))
        assert receiver.wait(lambda spans: len(spans) == 2)
        end(running, signal.SIGTERM)

        spans = receiver.spans
    enqueued = only(spans, "enqueue tests.live.apps.traced.count")
    ended = only(spans, "process tests.live.apps.traced.count")
    assert (ended.attributes["huey.task.outcome"], ended.status) == ("success", "UNSET")
    assert (ended.trace_id, ended.parent_id) == (enqueued.trace_id, enqueued.span_id)
    assert ended.attributes["huey.task.wait"] >= 0
    assert "(counted as" not in running.log


STUMBLE = "tests.live.apps.traced.stumble"


@pytest.mark.parametrize("serve", [otlp.receiver, otlp.refusing])
def test_spans_that_a_killed_worker_had_not_exported_are_counted(
    consumer, produce, conn, serve
):
    port, away = free_port(), serve is otlp.refusing

    def lost() -> float | None:
        return value(metrics(port), "huey_telemetry_dropped_total", reason="spans")

    with serve() as receiver:
        produce("count", "20")
        produce("hang")
        running = consumer(
            *("process", "-n", "-w", "1", *QUICK, "-c", "0.2"),
            application="traced",
            HUEY_OTEL_METRICS_PORT=str(port),
            OTEL_BSP_SCHEDULE_DELAY="100" if away else "60000",
            OTEL_EXPORTER_OTLP_TIMEOUT="1",
            **receiver.environ,
        )
        _, pid = conn.blpop("hangs", timeout=60)
        if away:
            # The worker knows of its loss, but sends no record that could report it.
            wait_until(lambda: "spans could not be delivered" in running.log)
        kill(int(pid))
        # The one inside is the worker's own, those of attempts the main process'.
        wait_until(lambda: lost() == (22 if away else 1))
        end(running, signal.SIGTERM)

        if not away:
            assert names(receiver.spans) == {f"process {COUNT}", f"process {HANG}"}
    assert running.log.count("a worker died before it had heard") == 1


COUNT = "tests.live.apps.traced.count"
HANG = "tests.live.apps.traced.hang"
WORK = "process tests.live.apps.traced.work"


def names(spans) -> set[str]:
    return {span.name for span in spans}


def only(spans: list[Span], name: str) -> Span:
    (span,) = [span for span in spans if span.name == name]
    return span


def kill(pid: int) -> None:
    import os

    os.kill(pid, signal.SIGKILL)


FLUSH_TIMEOUT = 6.0


@pytest.mark.proof_but(
    "refusing-grpc-process-SIGTERM",
    "black_hole-http/protobuf-process-SIGINT",
    "black_hole-grpc-thread-SIGTERM",
)
@pytest.mark.parametrize("signum", SIGNALS[:2], ids=lambda signum: signum.name)
@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("away", [otlp.refusing, otlp.black_hole])
def test_a_dead_collector_delays_the_end_by_flush_timeout_at_most(
    consumer, produce, conn, away, protocol, kind, signum
):
    def seconds_to_end(**environ: str) -> float:
        conn.delete("done")
        produce("count", "20")
        running = consumer(
            *(kind, "-w", "4", *QUICK),
            application="traced",
            HUEY_OTEL_FLUSH_TIMEOUT=str(FLUSH_TIMEOUT),
            LIVE_WARM="1",
            **environ,
        )
        wait_until(done(conn, 20))
        running.wait_until_started()
        began = time.monotonic()
        running.stop(signum)
        return time.monotonic() - began

    delay = math.inf
    # A busy machine only makes it longer.
    for _ in range(3):
        bare = seconds_to_end()
        with away(protocol) as receiver:
            with_spans = seconds_to_end(**receiver.environ)
        sys.stdout.write(f"bare {bare:.2f} s, with spans {with_spans:.2f} s\n")
        delay = min(delay, with_spans - bare)
        if delay < 1.5 * FLUSH_TIMEOUT:
            return
    pytest.fail(f"{delay:.2f} s, with a flush timeout of {FLUSH_TIMEOUT} s")
