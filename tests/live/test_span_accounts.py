"""Bad collectors beside real consumers: every span arrives, or is counted."""

import os
import signal
import threading
from collections.abc import Callable

import pytest
import redis

from huey_otel import _names as n
from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Answer
from tests.live.processes import Consumer, losses
from tests.live.scraping import metrics, value
from tests.support.programs import free_port
from tests.support.waiting import wait_until

TASKS = 40
QUICK = ("-n", "-d", "0.02", "-m", "0.1", "-c", "0.2")

Start = Callable[..., Consumer]


def done(conn: redis.Redis, number: int) -> Callable[[], bool]:
    return lambda: int(conn.get("done") or 0) >= number


def lost_on(port: int, reason: str) -> float:
    """What the page at *port* shows as lost for *reason*."""
    return value(metrics(port), n.TELEMETRY_DROPPED_TOTAL, reason=reason) or 0.0


COLLECTORS = {
    "refuses": (Answer(refusal="INVALID_ARGUMENT"), "spans"),
    "is too busy": (Answer(refusal="RESOURCE_EXHAUSTED"), "spans"),
    "closes connections": (Answer(closes=True), "spans"),
    "rejects some": (Answer(rejected=2, message="no"), "rejected"),
    "is slow": (Answer(seconds=0.1), None),
}


@pytest.mark.once
@pytest.mark.proof_but(
    "process-http/protobuf-refuses",
    "process-grpc-rejects some",
    "process-http/protobuf-closes connections",
    "thread-http/protobuf-is slow",
)
@pytest.mark.parametrize(
    ("answer", "reason"), COLLECTORS.values(), ids=COLLECTORS.keys()
)
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_made_is_arrived_and_counted(
    consumer: Start, produce, conn, tmp_path, kind, protocol, answer, reason
):
    produce("count", str(TASKS))
    with otlp.receiver(protocol) as receiver:
        receiver.answer = answer
        running = consumer(
            *(kind, "-w", "2", *QUICK),
            application="traced",
            LIVE_DROPPED=str(tmp_path / "dropped"),
            OTEL_BSP_SCHEDULE_DELAY="100",
            # An answer that is none must not be waited for.
            OTEL_EXPORTER_OTLP_TIMEOUT="1" if reason == "spans" else "60",
            **receiver.environ,
        )
        wait_until(done(conn, TASKS))
        running.stop(signal.SIGTERM)

        arrived = len(receiver.spans)
    lost = losses(tmp_path / "dropped")
    assert lost.keys() == (set() if reason is None else {reason})
    assert arrived + sum(lost.values()) == TASKS


@pytest.mark.once
@pytest.mark.proof_but(
    "refusing-grpc-process",
    "black_hole-http/protobuf-process",
    "black_hole-grpc-thread",
)
@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("away", [otlp.refusing, otlp.black_hole])
def test_without_a_collector_all_are_counted(
    consumer: Start, produce, conn, tmp_path, away, protocol, kind
):
    produce("count", str(TASKS))
    with away(protocol) as receiver:
        running = consumer(
            *(kind, "-w", "2", *QUICK),
            application="traced",
            LIVE_DROPPED=str(tmp_path / "dropped"),
            HUEY_OTEL_FLUSH_TIMEOUT="1.5",
            **receiver.environ,
        )
        wait_until(done(conn, TASKS))
        running.stop(signal.SIGTERM)

    assert losses(tmp_path / "dropped") == {"spans": TASKS}


@pytest.mark.once
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_flood_of_spans_is_on_the_page_while_the_consumer_lives(
    consumer: Start, produce, conn, tmp_path, kind
):
    port, flood = free_port(), 20_000
    produce("flood", str(flood))
    with otlp.receiver() as receiver:
        receiver.answer = Answer(seconds=0.3)
        running = consumer(
            *(kind, "-w", "1", *QUICK),
            application="traced",
            HUEY_OTEL_METRICS_PORT=str(port),
            LIVE_DROPPED=str(tmp_path / "dropped"),
            **receiver.environ,
        )
        wait_until(done(conn, 1))

        def told() -> int:
            return int(lost_on(port, "spans_queue_full"))

        wait_until(lambda: told() > 0)
        wait_until(lambda: len(receiver.spans) + told() == flood + 1, seconds=120)
        running.stop(signal.SIGTERM)

        arrived = len(receiver.spans)
    lost = losses(tmp_path / "dropped")
    assert lost.keys() == {"spans_queue_full"}
    assert arrived + sum(lost.values()) == flood + 1


@pytest.mark.once
def test_what_idle_workers_learn_is_on_the_page_without_any_task(
    consumer: Start, produce, conn, tmp_path
):
    """Also what workers that are killed then had learned, once."""
    port = free_port()
    with otlp.receiver() as receiver:
        receiver.answer = Answer(refusal="INVALID_ARGUMENT", message="no such tenant")
        running = consumer(
            *("process", "-w", "2", *QUICK),
            application="traced",
            HUEY_OTEL_METRICS_PORT=str(port),
            LIVE_DROPPED=str(tmp_path / "dropped"),
            **receiver.environ,
        )
        produce("flood", "8")
        wait_until(done(conn, 1))

        # The SDK exports after 5 s.
        wait_until(lambda: lost_on(port, "spans") == 9)
        wait_until(lambda: "no such tenant" in running.log)
        killed = set(running.children())
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: len(killed) == len(set(running.children()) - killed))
        running.stop_after_kills()

        assert receiver.spans == []
    assert losses(tmp_path / "dropped") == {"spans": 9}


def test_a_span_that_ends_during_the_last_flush_arrives(
    consumer: Start, produce, conn, tmp_path
):
    """Threads run on while the consumer waits for its telemetry.

    A flush of opentelemetry-sdk 1.30 takes no span that ends after it began.
    """
    produce("outlast")
    with otlp.receiver() as receiver:

        def let_the_task_end(_request: object) -> None:
            conn.rpush("sent", 1)
            wait_until(done(conn, 1))

        receiver.forward = let_the_task_end
        running = consumer(
            *("thread", "-w", "1", *QUICK),
            application="traced",
            LIVE_DROPPED=str(tmp_path / "dropped"),
            # Only a flush sends spans.
            OTEL_BSP_SCHEDULE_DELAY="60000",
            **receiver.environ,
        )
        wait_until(lambda: conn.get("outlasting") is not None)
        running.stop(signal.SIGTERM)

        names = [span.name for span in receiver.spans]
    assert "after the end" in names
    assert losses(tmp_path / "dropped") == {}


@pytest.mark.once
def test_what_arrived_of_a_killed_worker_that_heard_no_answer_counts_as_lost(
    consumer: Start, produce, conn, tmp_path
):
    """Only the collector knows of it."""
    produce("hang")
    killed = threading.Event()
    with otlp.receiver() as receiver:
        receiver.forward = lambda _request: killed.wait(60)
        running = consumer(
            *("process", "-w", "1", *QUICK),
            application="traced",
            LIVE_DROPPED=str(tmp_path / "dropped"),
            OTEL_BSP_SCHEDULE_DELAY="50",
            **receiver.environ,
        )
        _, pid = conn.blpop("hangs", timeout=60)
        assert receiver.wait(lambda spans: len(spans) == 1)
        os.kill(int(pid), signal.SIGKILL)
        killed.set()
        assert receiver.wait(lambda spans: len(spans) == 2)
        running.stop_after_kills()

        names = [span.name for span in receiver.spans]
    assert names == ["inside", "process tests.live.apps.traced.hang"]
    assert losses(tmp_path / "dropped") == {"spans": 1}
