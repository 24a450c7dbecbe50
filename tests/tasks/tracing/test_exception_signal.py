"""Exceptions as log records, on spans, or both: the variable of the conventions."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from huey.api import Huey
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.trace import StatusCode

from huey_otel._safety import log
from tests.support.event_logs import needs_event_names
from tests.support.recorded import Drain, Recorded
from tests.support.spans import Spans

VARIABLE = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"
ACCEPTED = "expected one of logs, logs/dup"

Instrument = Callable[..., Recorded]


class Emitted(LogRecordProcessor):
    """Keeps the log records that a provider is given."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def on_emit(self, log_record: Any) -> None:
        self.records.append(log_record.log_record)

    def shutdown(self) -> None:
        """Nothing is open."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


@pytest.fixture
def emitted() -> Emitted:
    return Emitted()


@pytest.fixture
def failing(huey: Huey) -> Any:
    @huey.task(retries=1)
    def fail() -> None:
        raise ValueError("on purpose")

    return fail


def logged(emitted: Emitted) -> LoggerProvider:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(emitted)
    return provider


@needs_event_names
@pytest.mark.parametrize(
    ("opted_in", "on_spans"),
    [("logs", False), (" Logs ", False), ("logs/dup", True), ("spans", True)],
)
def test_attempt_has_its_exception_where_it_was_asked_for(
    *,
    opted_in: str,
    on_spans: bool,
    monkeypatch: pytest.MonkeyPatch,
    emitted: Emitted,
    instrumented: Instrument,
    failing: Any,
    drain: Drain,
    spans: Spans,
) -> None:
    monkeypatch.setenv(VARIABLE, opted_in)
    seen = instrumented(events="otlp", logger_provider=logged(emitted))
    failing()
    drain()
    assert seen.instrumentation.flush(10)

    attempts = spans.named("process fail")
    assert len(attempts) == 2
    for span in attempts:
        assert (span.status.status_code, span.status.description) == (
            StatusCode.ERROR,
            "on purpose",
        )
        assert span.attributes["error.type"] == "ValueError"
        assert span.attributes["huey.task.outcome"] == "error"
        assert [one.name for one in span.events] == ["exception"] * on_spans
    failures = [one for one in emitted.records if "exception.type" in one.attributes]
    assert [(one.trace_id, one.span_id) for one in failures] == [
        (span.context.trace_id, span.context.span_id) for span in attempts
    ]
    for one in failures:
        assert one.event_name == "huey.task.error-task"
        assert one.severity_text == "ERROR"
        assert one.attributes["exception.type"] == "ValueError"
        assert "ValueError: on purpose" in one.attributes["exception.stacktrace"]


@pytest.mark.parametrize("opted_in", ["logs", "logs/dup", "spans"])
def test_without_events_as_log_records_exceptions_stay_on_spans(
    opted_in: str,
    monkeypatch: pytest.MonkeyPatch,
    instrumented: Instrument,
    failing: Any,
    drain: Drain,
    spans: Spans,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(log, "_warned", set())
    monkeypatch.setenv(VARIABLE, opted_in)
    with caplog.at_level(logging.WARNING):
        instrumented()
        failing()
        drain()

    for span in spans.named("process fail"):
        assert [one.name for one in span.events] == ["exception"]
    why = (
        f": {ACCEPTED}; ignored"
        if opted_in == "spans"
        else " has no effect without HUEY_OTEL_EVENTS=otlp,"
        " by which exceptions become log records"
    )
    assert [one for one in caplog.messages if VARIABLE in one] == [
        f"{VARIABLE}={opted_in!r}{why}"
    ]


@needs_event_names
def test_exception_of_an_enqueue_stays_on_its_span(
    monkeypatch: pytest.MonkeyPatch,
    emitted: Emitted,
    instrumented: Instrument,
    failing: Any,
    huey: Huey,
    spans: Spans,
) -> None:
    monkeypatch.setenv(VARIABLE, "logs")
    instrumented(events="otlp", logger_provider=logged(emitted))

    def refuse(*_args: object, **_options: object) -> None:
        raise ConnectionError("no queue")

    monkeypatch.setattr(huey.storage, "enqueue", refuse)
    with pytest.raises(ConnectionError):
        failing()

    assert [one.name for one in spans.one("enqueue fail").events] == ["exception"]
