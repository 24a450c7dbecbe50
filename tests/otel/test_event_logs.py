"""Events as log records: of a collector of any kind, made = arrived + counted."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from opentelemetry import _logs
from opentelemetry import context as contexts
from opentelemetry._logs import NoOpLoggerProvider
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource

from huey_otel._options.export import read_export
from huey_otel._options.otel_variables import LOGS
from huey_otel._otel import sdk_logs
from huey_otel._otel.event_logs import EventLogs
from huey_otel._otel.log_outbox import BATCH
from huey_otel._otel.logger_provider import LazyLogs
from huey_otel._safety.losses import Losses
from huey_otel._wire.client import CLIENT
from huey_otel._wire.event import spell
from huey_otel._wire.record import Record, Source, TaskFacts
from runtime import otlp_receiver as otlp
from runtime.otlp_receiver import GRPC, HTTP, Answer, Receiver
from tests.support.event_logs import needs_event_names, said_by, saying
from tests.support.forks import fork
from tests.support.redirecting import redirecting
from tests.support.strict_readers import read_json

pytestmark = needs_event_names

Make = Callable[..., EventLogs]

SOURCE = Source(queue="shop", host="h1", worker_type="thread")
FACTS = TaskFacts("id-1", "send", "app.send", None, None, 1, 0xA1, 0xB2)
MESSAGE = "no room for these"


def record(status: str = "started", **extra: object) -> Record:
    pid = os.getpid()
    return Record(1, status, 1.5e9, pid, 7, "Worker-1", tuple(FACTS), 0, extra)


def tell(logs: EventLogs, number: int) -> None:
    for _ in range(number):
        logs(record(), SOURCE)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes the sink for a receiver."""
    made: list[EventLogs] = []

    def make(receiver: Receiver | None, **environ: str) -> EventLogs:
        if receiver is not None:
            environ = receiver.environ | environ
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        logs = LazyLogs(None, read_export(environ, LOGS), "shop")
        logs.load()
        logs.make()
        made.append(EventLogs(logs, "shop"))
        return made[-1]

    yield make
    for one in made:
        one.close()
        if one._thread is not None:
            one._thread.join(10)
            assert not one._thread.is_alive()


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_log_record_arrives_whole(make, protocol):
    with otlp.receiver(protocol) as receiver:
        logs = make(receiver, OTEL_SERVICE_NAME="billing")
        failed = record("error-task", duration=0.5, exception="Oops", traceback="at 1")
        logs(failed, SOURCE)
        assert logs.flush(60)

        (log,) = receiver.logs
    event = read_json(spell(failed, SOURCE, logs._numbering.publisher, 1).encode())
    assert saying(log) == said_by(event, CLIENT.id)
    assert log.scope == "huey-otel"
    assert {
        name: log.resource[name]
        for name in ("service.name", "host.name", "process.pid")
    } == {
        "service.name": "billing",
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
    }
    assert time.time_ns() - 60e9 < log.observed <= time.time_ns()


def test_the_queue_is_the_service_unless_one_is_named(make):
    with otlp.receiver() as receiver:
        logs = make(receiver)
        tell(logs, 1)
        assert logs.flush(60)

        assert receiver.logs[0].resource["service.name"] == "shop"


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_each_has_its_number_in_their_order(make, protocol):
    with otlp.receiver(protocol) as receiver:
        logs = make(receiver)
        tell(logs, 2 * BATCH + 5)
        assert logs.flush(60)

        found = [log.attributes["huey.event.seq"] for log in receiver.logs]
        publishers = {log.attributes["huey.event.publisher"] for log in receiver.logs}
    assert found == [*range(1, 2 * BATCH + 6)]
    assert len(publishers) == 1


ANSWERS = {
    "takes all": (Answer(), {}, None),
    "slow": (Answer(seconds=0.1), {}, None),
    "400": (
        Answer(refusal="INVALID_ARGUMENT", message=MESSAGE),
        {"logs": 40},
        ("they could not be delivered: ", MESSAGE),
    ),
    "403": (
        Answer(refusal="PERMISSION_DENIED", message=MESSAGE),
        {"logs": 40},
        ("they could not be delivered: ", MESSAGE),
    ),
    "429": (
        Answer(refusal="RESOURCE_EXHAUSTED", message=MESSAGE),
        {"logs": 40},
        ("they could not be delivered: ", MESSAGE),
    ),
    "closes connections": (
        Answer(closes=True),
        {"logs": 40},
        ("they could not be delivered: ", ""),
    ),
    "rejects some": (
        Answer(rejected=3, message=MESSAGE),
        {"logs_rejected": 12},
        ("the collector rejects some: ", MESSAGE),
    ),
    "rejects all": (
        Answer(rejected=10**6),
        {"logs_rejected": 40},
        ("the collector rejects some: ", "no reason given"),
    ),
    "warns": (
        Answer(message=MESSAGE),
        {},
        ("the collector warns of some that it took: ", MESSAGE),
    ),
}


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize(
    ("answer", "lost", "told"), ANSWERS.values(), ids=ANSWERS.keys()
)
def test_all_events_arrive_or_are_counted(
    make, losses: Losses, caplog, protocol, answer, lost, told
):
    # An exporter tries for so long; an answer that is none must not be waited for.
    seconds = "1" if lost.keys() == {"logs"} else "10"
    with otlp.receiver(protocol) as receiver:
        receiver.answer = answer
        logs = make(receiver, OTEL_EXPORTER_OTLP_TIMEOUT=seconds)
        for _ in range(4):
            tell(logs, 10)
            assert logs.flush(60)

        arrived = len(receiver.logs)
    assert dict(losses.by_queue()) == {("shop", why): n for why, n in lost.items()}
    assert arrived + sum(lost.values()) == 40
    if told is None:
        assert caplog.messages == []
    else:
        # Once a streak, however many batches there were.
        (message,) = caplog.messages
        assert message.startswith(f"events of shop as log records: {told[0]}")
        assert told[1] in message


@pytest.mark.parametrize("code", [301, 302, 307])
def test_what_is_redirected_has_not_arrived(make, losses: Losses, caplog, code):
    with redirecting(code) as receiver:
        logs = make(receiver)
        tell(logs, 10)
        assert logs.flush(60)

    assert losses.by_queue() == {("shop", "logs"): 10}
    (message,) = caplog.messages
    assert "it redirects to '/login'" in message


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
@pytest.mark.parametrize("away", [otlp.refusing, otlp.black_hole])
def test_a_collector_that_is_away_costs_what_happens_meanwhile(
    make, losses: Losses, caplog, away, protocol
):
    with away(protocol) as receiver:
        logs = make(receiver, OTEL_EXPORTER_OTLP_TIMEOUT="1")
        tell(logs, 40)
        assert logs.flush(60)

    assert losses.counts() == {"logs": 40}
    assert len([one for one in caplog.messages if "counted as logs" in one]) == 1


def test_the_end_of_a_streak_is_logged(make, losses: Losses, caplog):
    with otlp.receiver() as receiver:
        logs = make(receiver)
        for refusal in ("INVALID_ARGUMENT", "INVALID_ARGUMENT", ""):
            receiver.answer = Answer(refusal=refusal)
            tell(logs, 1)
            assert logs.flush(60)

        assert len(receiver.logs) == 1
    assert losses.counts() == {"logs": 2}
    assert len(caplog.messages) == 2
    assert caplog.messages[1] == "events of shop go out as log records again"


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_events_that_are_left_at_the_end_are_counted_once(
    make, losses: Losses, protocol, arrives
):
    """Whatever becomes of the batch on its way, if the process goes on."""
    asked, go_on = threading.Event(), threading.Event()
    with otlp.receiver(protocol) as receiver:
        take = receiver.take_logs

        def late(request):
            asked.set()
            go_on.wait(30)
            return take(request)

        receiver.take_logs = late
        receiver.answer = Answer(refusal="" if arrives else "INVALID_ARGUMENT")
        logs = make(receiver, OTEL_EXPORTER_OTLP_TIMEOUT="30")
        tell(logs, BATCH + 10)
        assert asked.wait(30)
        assert not logs.flush(0.05)

        logs.close()
        told = dict(losses.counts())
        go_on.set()
        logs._thread.join(30)
        tell(logs, 2)

        assert len(receiver.logs) == (BATCH if arrives else 0)
    assert told == {"logs_shutdown": BATCH + 10}
    assert losses.counts() == {"logs_shutdown": BATCH + 12}


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_what_a_full_outbox_drops_is_counted_when_it_happens(
    make, losses: Losses, monkeypatch, protocol
):
    monkeypatch.setattr("huey_otel._otel.log_outbox.LARGEST", 600 * 512)
    with otlp.receiver(protocol) as receiver:
        receiver.answer = Answer(seconds=0.2)
        logs = make(receiver)
        tell(logs, 5_000)
        dropped = losses.counts()["logs_full"]
        receiver.answer = Answer()
        assert logs.flush(60)

        seqs = [log.attributes["huey.event.seq"] for log in receiver.logs]
    assert losses.counts() == {"logs_full": dropped}
    assert len(seqs) + dropped == 5_000
    # A reader sees the gap, and the last ones are there.
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == 5_000


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_batch_that_is_too_large_arrives_in_parts(make, losses: Losses, protocol):
    with otlp.receiver(protocol) as receiver:
        logs = make(receiver)
        for _ in range(500):
            traceback = "ж" * 8_000
            logs(record("error-task", traceback=traceback, exception="E"), SOURCE)
        assert logs.flush(60)

        assert len(receiver.logs) == 500
    assert losses.counts() == {}


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_a_forked_child_sends_its_own_and_not_those_of_its_parent(
    make, losses: Losses, protocol
):
    with otlp.receiver(protocol) as receiver:
        logs = make(receiver)
        tell(logs, 1)
        assert logs.flush(60)
        tell(logs, 3)

        def in_child() -> None:
            tell(logs, 2)
            if not logs.flush(60):
                os._exit(9)

        code = fork(in_child).join()
        tell(logs, 4)
        assert logs.flush(60)

        found = {}
        for log in receiver.logs:
            publisher = log.attributes["huey.event.publisher"]
            pid = log.resource["process.pid"]
            found.setdefault((publisher, pid), []).append(
                log.attributes["huey.event.seq"]
            )
    assert code == 0
    assert sorted(found.values()) == [[1, 2], [1, 2, 3, 4, 5, 6, 7, 8]]
    assert len({pid for _, pid in found}) == 2
    assert losses.counts() == {}


def test_no_thread_is_left_in_a_forked_child_that_tells_nothing(make):
    with otlp.receiver() as receiver:
        logs = make(receiver)
        tell(logs, 1)
        assert logs.flush(60)

        def in_child() -> None:
            if threading.active_count() != 1:
                os._exit(9)

        assert fork(in_child).join() == 0


def test_what_is_exported_is_not_traced(make, monkeypatch):
    seen = []
    with otlp.receiver() as receiver:
        logs = make(receiver)
        (exporter,) = logs.logs.resolved()._exporters.values()
        export = exporter.start().export

        def spy(batch):
            seen.append(dict(contexts.get_current()))
            return export(batch)

        monkeypatch.setattr(exporter.start(), "export", spy)
        tell(logs, 1)
        assert logs.flush(60)

    assert seen == [{"suppress_instrumentation": True}]


def where(env, given=None):
    """Where log records go by *env*, for people."""
    logs = LazyLogs(given, read_export(env, LOGS), "shop")
    logs.load()
    assert str(logs) == "as log records, not asked for yet"
    logs.make()
    return str(logs)


PLACE = "OTEL_EXPORTER_OTLP_ENDPOINT"
LOGS_PLACE = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"


@pytest.mark.parametrize(
    ("env", "place"),
    [
        ({}, "OTLP/HTTP to localhost:4318"),
        ({"OTEL_LOGS_EXPORTER": "otlp"}, "OTLP/HTTP to localhost:4318"),
        ({"OTEL_LOGS_EXPORTER": "console"}, "the console"),
        ({PLACE: "http://c:4317"}, "OTLP/gRPC to c:4317"),
        (
            {PLACE: "http://c:4317", LOGS_PLACE: "http://logs:4318/v1/logs"},
            "OTLP/HTTP to logs:4318",
        ),
        (
            {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "grpc"},
            "OTLP/gRPC to localhost:4317",
        ),
    ],
)
def test_the_environment_says_where_they_go(monkeypatch, env, place):
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert where(env) == f"as log records over {place}"


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, "OTEL_SDK_DISABLED is set"),
        ({"OTEL_LOGS_EXPORTER": "none"}, "OTEL_LOGS_EXPORTER=none"),
        (
            {"OTEL_LOGS_EXPORTER": "kafka"},
            "OTEL_LOGS_EXPORTER='kafka': expected some of console, none,"
            " otlp, otlp_proto_grpc, otlp_proto_http",
        ),
        (
            {PLACE: "https://c", "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE": "/nowhere"},
            "OTEL_EXPORTER_OTLP_LOGS_CERTIFICATE='/nowhere': expected a file that can"
            " be read",
        ),
    ],
    ids=["disabled", "none", "unknown", "no certificate"],
)
def test_the_environment_may_turn_them_off(monkeypatch, env, why):
    for name, value in env.items():
        monkeypatch.setenv(name, value)

    assert where(env) == f"as log records: off, {why}"


def test_an_exporter_that_is_not_installed_is_told_of(monkeypatch, caplog):
    def load(group, name):
        raise LookupError(f"{group} has no {name!r}")

    monkeypatch.setattr("huey_otel._otel.sdk_logs.load_entry_point", load)

    why = (
        "the exporter otlp_proto_http cannot be made: LookupError:"
        " opentelemetry_logs_exporter has no 'otlp_proto_http'"
    )
    assert where({}) == f"as log records: off, {why}"
    assert caplog.messages == [f"events as log records are off: {why}"]


def test_an_exporter_that_cannot_be_made_yet_is_tried_with_each_batch(
    make, losses: Losses, monkeypatch, caplog
):
    real = sdk_logs.load_entry_point
    ready = threading.Event()

    def load(group, name):
        def made(**asked):
            if not ready.is_set():
                raise OSError("no credentials yet")
            return real(group, name)(**asked)

        return made

    monkeypatch.setattr(sdk_logs, "load_entry_point", load)
    with otlp.receiver() as receiver:
        logs = make(receiver)
        tell(logs, 3)
        assert logs.flush(60)
        ready.set()
        tell(logs, 2)
        assert logs.flush(60)

        assert len(receiver.logs) == 2
    assert losses.counts() == {"logs": 3}
    assert caplog.messages == [
        "events are not delivered as log records: the exporter otlp_proto_http cannot"
        " be made: OSError: no credentials yet",
        "events of shop as log records: they could not be delivered:"
        " OSError: no credentials yet (counted as logs)",
        "events of shop go out as log records again",
    ]


def test_an_event_that_one_of_two_exporters_loses_is_lost_once(make, losses: Losses):
    with otlp.receiver() as receiver:
        receiver.answer = Answer(rejected=2)
        logs = make(receiver, OTEL_LOGS_EXPORTER="console,otlp")
        tell(logs, 5)
        assert logs.flush(60)

        assert len(receiver.logs) == 3
    assert losses.counts() == {"logs_rejected": 2}
    assert str(logs.logs).startswith("as log records over the console, OTLP/HTTP to ")


def test_a_global_provider_that_the_environment_disables_is_off(monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)

    env = {"OTEL_SDK_DISABLED": "true"}
    assert where(env) == "as log records: off, OTEL_SDK_DISABLED is set"


def test_a_global_provider_that_exports_nothing_is_told_of(monkeypatch, caplog):
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    monkeypatch.setattr(_logs, "get_logger_provider", lambda: provider)

    told = (
        "as log records to the application's logger provider,"
        " which exports nothing so far"
    )
    assert where({}) == told
    assert caplog.messages == [f"events go {told}"]


def test_the_argument_wins_over_the_environment():
    given = NoOpLoggerProvider()

    assert where({PLACE: "http://c:4317"}, given) == (
        "as log records to the logger_provider= given"
    )


def test_what_is_off_loses_nothing(make, losses: Losses):
    logs = make(None, OTEL_SDK_DISABLED="true")
    tell(logs, 5)

    assert logs.flush(60)
    assert losses.counts() == {}


def test_a_provider_that_raises_costs_what_it_raises_for(losses: Losses, caplog):
    class Picky(LoggerProvider):
        def get_logger(self, *args, **kwargs):
            logger = super().get_logger(*args, **kwargs)
            emit = logger.emit

            def raising(record):
                if record.attributes["huey.event.seq"] % 2:
                    raise KeyError("odd")
                emit(record)

            logger.emit = raising
            return logger

    provider = Picky(resource=Resource({}), shutdown_on_exit=False)
    logs = EventLogs(LazyLogs(provider, read_export({}, LOGS), "shop"), "shop")
    tell(logs, 5)

    assert logs.flush(60)
    logs.close()
    assert losses.counts() == {"logs": 3}
    assert caplog.messages == [
        "events of shop as log records: the application's logger provider raised"
        " KeyError: 'odd' (counted as logs)"
    ]


def test_an_event_of_which_no_log_record_can_be_made_costs_itself_alone(
    make, losses: Losses, caplog
):
    with otlp.receiver() as receiver:
        logs = make(receiver)
        tell(logs, 1)
        logs(record()._replace(facts=(1, 2)), SOURCE)
        tell(logs, 1)
        assert logs.flush(60)

        seqs = [log.attributes["huey.event.seq"] for log in receiver.logs]
    assert seqs == [1, 3]
    assert losses.counts() == {"logs": 1}
    assert "no log record can be made of one: TypeError" in caplog.messages[0]


def test_events_wait_when_the_thread_cannot_start(
    make, losses: Losses, monkeypatch, caplog
):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    with otlp.receiver() as receiver:
        logs = make(receiver)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            tell(logs, 5)
        tell(logs, 1)
        assert logs.flush(60)

        assert len(receiver.logs) == 6
    assert losses.counts() == {}
    assert caplog.messages == [
        "the thread of log records cannot be started, events wait:"
        " can't start new thread (nothing is lost so far)"
    ]
