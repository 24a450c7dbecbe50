"""Accounts: of a collector of any kind, made = arrived + counted, by reason."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import huey.exceptions
import pytest
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from opentelemetry.trace import Status, StatusCode

from huey_otel._options.export import read_export
from huey_otel._otel import span_queue
from huey_otel._otel.batches import LARGEST
from huey_otel._otel.exporter import give_up
from huey_otel._otel.flusher import Flusher
from huey_otel._otel.grpc_answers import listened_to
from huey_otel._otel.sdk_provider import BuiltProvider
from huey_otel._otel.span_counts import SPANS, SpanCounts
from huey_otel._safety.losses import Losses
from huey_otel._safety.timeout import limited
from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Answer, Receiver
from tests.support.interruptions import Alarm
from tests.support.redirecting import redirecting
from tests.support.timeouts import alarm, untraced
from tests.support.waiting import wait_until

Build = Callable[..., BuiltProvider]

FULL = {"OTEL_BSP_MAX_QUEUE_SIZE": "64", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16"}

pytestmark = pytest.mark.usefixtures("counts")


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> SpanCounts:
    """The counts of a process that has ended no span yet."""
    fresh = SpanCounts()
    monkeypatch.setattr(SPANS, "here", fresh)
    return fresh


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the exporters of opentelemetry 1.30 try again at once, not for a minute."""
    for package in ("grpc.exporter", "http.trace_exporter"):
        path = f"opentelemetry.exporter.otlp.proto.{package}.sleep"
        monkeypatch.setattr(path, lambda _: None, raising=False)


@pytest.fixture
def build() -> Iterator[Build]:
    """Builds our provider for a receiver."""
    made: list[BuiltProvider] = []

    def build(receiver: Receiver, **environ: str) -> BuiltProvider:
        environ = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1", **receiver.environ, **environ}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(name, value)
            made.append(BuiltProvider(read_export(environ), "my-app", at_once=True))
        assert made[-1].problems == []
        return made[-1]

    yield build
    for one in made:
        one.provider.shutdown()


def end_spans(built: BuiltProvider, number: int) -> None:
    tracer = built.provider.get_tracer("tests")
    for _ in range(number):
        tracer.start_span("one").end()


MESSAGE = "no room for these"

ANSWERS = {
    "takes all": (Answer(), {}, None),
    "slow": (Answer(seconds=0.1), {}, None),
    "400": (
        Answer(refusal="INVALID_ARGUMENT", message=MESSAGE),
        {"spans": 40},
        ("spans could not be delivered: ", MESSAGE),
    ),
    "403": (
        Answer(refusal="PERMISSION_DENIED", message=MESSAGE),
        {"spans": 40},
        ("spans could not be delivered: ", MESSAGE),
    ),
    "429": (
        Answer(refusal="RESOURCE_EXHAUSTED", message=MESSAGE),
        {"spans": 40},
        ("spans could not be delivered: ", MESSAGE),
    ),
    "closes connections": (
        Answer(closes=True),
        {"spans": 40},
        ("spans could not be delivered: ", ""),
    ),
    "rejects some": (
        Answer(rejected=3, message=MESSAGE),
        {"rejected": 9},
        ("the collector rejects spans: ", MESSAGE),
    ),
    "rejects all": (
        Answer(rejected=10**6),
        {"rejected": 40},
        ("the collector rejects spans: ", "no reason given"),
    ),
    "warns": (
        Answer(message=MESSAGE),
        {},
        ("the collector warns of spans that it took: ", MESSAGE),
    ),
}


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize(
    ("answer", "lost", "told"), ANSWERS.values(), ids=ANSWERS.keys()
)
def test_all_spans_arrive_or_are_counted(
    build, losses: Losses, caplog, protocol, answer, lost, told
):
    with otlp.receiver(protocol) as receiver:
        receiver.answer = answer
        built = build(receiver, OTEL_BSP_MAX_EXPORT_BATCH_SIZE="16")
        end_spans(built, 40)
        built.provider.force_flush()
        give_up()

        arrived = len(receiver.spans)
    assert dict(losses.counts()) == lost
    assert arrived + sum(lost.values()) == 40
    if told is None:
        assert caplog.messages == []
    else:
        # Once a streak, however many batches there were.
        (message,) = caplog.messages
        assert message.startswith(told[0])
        assert told[1] in message


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_collector_that_is_away_costs_what_ends_meanwhile(
    build, losses: Losses, protocol
):
    with otlp.refusing(protocol) as receiver:
        built = build(receiver)
        end_spans(built, 40)
        built.provider.force_flush()
        give_up()

    assert losses.counts() == {"spans": 40}


@pytest.mark.parametrize("code", [301, 302, 307])
def test_what_is_redirected_has_not_arrived(build, losses: Losses, caplog, code):
    with redirecting(code) as receiver:
        built = build(receiver)
        end_spans(built, 40)
        built.provider.force_flush()
        give_up()

    assert losses.counts() == {"spans": 40}
    (message,) = caplog.messages
    assert "it redirects to '/login'" in message


def test_the_streak_of_rejected_spans_ends_with_a_batch_that_is_taken(
    build, losses: Losses, caplog
):
    with otlp.receiver() as receiver:
        built = build(receiver)
        for rejected in (1, 1, 0, 1):
            receiver.answer = Answer(rejected=rejected)
            end_spans(built, 2)
            built.provider.force_flush()

        assert len(receiver.spans) == 5
    assert losses.counts() == {"rejected": 3}
    told = "the collector rejects spans: no reason given (counted as rejected)"
    assert caplog.messages == [told, told]


@pytest.mark.parametrize("code", [200, 400])
def test_an_answer_that_is_no_otlp_is_only_looked_at(build, losses: Losses, code):
    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(code)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(b"<html>")

        def log_message(self, *_arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        built = build(Receiver(HTTP, server.server_address[1]))
        end_spans(built, 1)
        built.provider.force_flush()
        server.shutdown()

    assert losses.counts() == ({} if code == 200 else {"spans": 1})


def test_a_new_connection_is_listened_to_as_well(build, losses: Losses):
    with otlp.receiver(GRPC) as receiver:
        built = build(receiver)
        for answer in (Answer(closes=True), Answer(rejected=1)):
            receiver.answer = answer
            end_spans(built, 1)
            built.provider.force_flush()

    assert losses.counts() == {"spans": 1, "rejected": 1}


def test_an_exporter_with_other_private_names_is_left_alone(build):
    exporter = ConsoleSpanExporter()
    before = dict(vars(exporter))

    assert listened_to(exporter) is exporter
    assert vars(exporter) == before


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_what_a_full_queue_drops_is_counted_when_it_happens(
    build, losses: Losses, caplog, protocol
):
    with otlp.receiver(protocol) as receiver:
        receiver.answer = Answer(seconds=0.05)
        built = build(receiver, **FULL, OTEL_EXPORTER_OTLP_TIMEOUT="10")
        threads = [
            threading.Thread(target=end_spans, args=(built, 500)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = dict(losses.counts())
        built.provider.force_flush()
        end_spans(built, 1)
        built.provider.force_flush()
        give_up()

        arrived = len(receiver.spans)
    assert losses.counts() == told
    assert told.keys() == {"spans_queue_full"}
    assert arrived + told["spans_queue_full"] == 2001
    ours = [message for message in caplog.messages if "counted as" in message]
    why = "more spans end than can be exported, and 64 wait already"
    assert ours == [f"{why} (counted as spans_queue_full)"]


def test_where_the_queue_cannot_be_watched_its_loss_is_known_at_the_end(
    build, losses: Losses, monkeypatch
):
    monkeypatch.setattr(span_queue, "_PLACES", ())
    go_on = threading.Event()
    with otlp.receiver() as receiver:
        receiver.forward = lambda _request: go_on.wait(10)
        built = build(receiver, **FULL, OTEL_EXPORTER_OTLP_TIMEOUT="10")
        end_spans(built, 16)
        wait_until(lambda: len(receiver.spans) == 16)
        end_spans(built, 100)
        go_on.set()
        built.provider.force_flush()
        told = dict(losses.counts())
        give_up()

        assert len(receiver.spans) == 16 + 64
    assert (told, losses.counts()) == ({}, {"spans": 36})


def test_the_last_spans_stay_in_a_full_queue(build, losses: Losses):
    go_on = threading.Event()
    with otlp.receiver() as receiver:
        receiver.forward = lambda _request: go_on.wait(10)
        built = build(receiver, **FULL, OTEL_EXPORTER_OTLP_TIMEOUT="10")
        tracer = built.provider.get_tracer("tests")
        end_spans(built, 16)
        wait_until(lambda: len(receiver.spans) == 16)
        for number in range(100):
            tracer.start_span(f"{number}").end()
        go_on.set()
        built.provider.force_flush()

        names = {span.name for span in receiver.spans[16:]}
    assert names == {f"{number}" for number in range(36, 100)}
    assert losses.counts() == {"spans_queue_full": 36}


def test_spans_that_end_after_a_shutdown_are_counted(build, losses: Losses):
    with otlp.receiver() as receiver:
        built = build(receiver)
        end_spans(built, 3)
        built.provider.shutdown()
        end_spans(built, 2)
        give_up()

        assert len(receiver.spans) == 3
    assert losses.counts() == {"spans": 2}


@pytest.mark.parametrize("arrives", [False, True])
def test_spans_that_are_left_at_the_end_are_counted_once(
    build, losses: Losses, arrives
):
    """Whatever becomes of the batch on its way, if the process goes on."""
    go_on = threading.Event()
    with otlp.receiver() as receiver:
        receiver.forward = lambda _request: go_on.wait(10)
        built = build(receiver, OTEL_EXPORTER_OTLP_TIMEOUT="10" if arrives else "0.3")
        end_spans(built, 40)
        flushed = Flusher().flush(built.provider)
        assert not flushed.wait(0.1)
        give_up()
        told = dict(losses.counts())
        if arrives:
            go_on.set()
        assert flushed.wait(10)
        go_on.set()
        give_up()

    assert (told, losses.counts()) == ({"spans": 40}, {"spans": 40})


@pytest.mark.parametrize("full", [False, True])
def test_a_timeout_at_the_end_of_a_span_costs_no_span(build, losses: Losses, full):
    """The alarm rings in each line of ours, one after another."""
    timeout, struck = alarm(), 0
    go_on = threading.Event()
    with otlp.receiver() as receiver, untraced():
        receiver.forward = lambda _request: go_on.wait(10)
        size = {"OTEL_BSP_MAX_QUEUE_SIZE": "16"} if full else {}
        batch = {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "16"}
        built = build(receiver, **batch, **size, OTEL_EXPORTER_OTLP_TIMEOUT="10")
        end_spans(built, 16)
        wait_until(lambda: len(receiver.spans) == 16)
        end_spans(built, 16 if full else 0)
        happened = True
        while happened:
            ended = False
            try:
                with limited(timeout)(60), Alarm(struck, "span_queue") as ringing:
                    end_spans(built, 1)
                    ended = True
            except huey.exceptions.TaskTimeout:
                assert ended
            happened = ringing.happened
            struck += 1
        go_on.set()
        built.provider.force_flush()

        arrived = len(receiver.spans)
    lost = struck if full else 0
    assert struck > 5
    assert arrived == 16 + (16 if full else struck)
    assert losses.counts() == ({"spans_queue_full": lost} if full else {})


def fail(built: BuiltProvider, number: int, size: int) -> None:
    """End *number* spans as of failures with large tracebacks."""
    tracer = built.provider.get_tracer("tests")
    for _ in range(number):
        span = tracer.start_span("fails")
        span.set_attributes({f"key {at}": "ж" * 100 for at in range(120)})
        span.add_event("exception", {"exception.stacktrace": "x" * size})
        span.set_status(Status(StatusCode.ERROR, "x" * size))
        span.end()


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_batch_that_is_too_large_arrives_in_parts(build, losses: Losses, protocol):
    with otlp.receiver(protocol) as receiver:
        sizes: list[int] = []
        receiver.forward = lambda request: sizes.append(request.ByteSize())
        built = build(receiver, OTEL_EXPORTER_OTLP_TIMEOUT="10")
        fail(built, 200, 16_384)
        built.provider.force_flush()

        assert len(receiver.spans) == 200
    assert max(sizes) < LARGEST < sum(sizes)
    # Each request but the last is at least half full.
    assert min(sizes[:-1]) > LARGEST // 2
    assert losses.counts() == {}


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_span_that_is_too_large_costs_at_most_itself(
    build, losses: Losses, caplog, protocol
):
    with otlp.receiver(protocol) as receiver:
        built = build(receiver, OTEL_EXPORTER_OTLP_TIMEOUT="10")
        end_spans(built, 5)
        fail(built, 1, LARGEST)
        end_spans(built, 5)
        built.provider.force_flush()

        names = [span.name for span in receiver.spans]
    if protocol == HTTP:
        assert names == ["one"] * 10 + ["fails"]
        assert losses.counts() == {}
    else:
        assert names == ["one"] * 10
        assert losses.counts() == {"spans": 1}
        # It was not tried again.
        assert "before that" not in caplog.text
        assert "larger than max" in caplog.text
