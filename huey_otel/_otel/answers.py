"""What a collector answers to one export: why not, and how much of it it rejects."""

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.trace.export import SpanExportResult

from huey_otel._safety.failures import class_name
from huey_otel._safety.forks import in_child
from huey_otel._safety.guard import guarded
from huey_otel._safety.redaction import shown

if TYPE_CHECKING:
    import requests

_PROTOBUF: Final = "application/x-protobuf"
_MOST_TEXT: Final = 500
_REDIRECTIONS: Final = range(300, 400)
SILENCE: Final = "no answer"


class Answer:
    """What was heard during one export."""

    def __init__(self) -> None:
        self.logged: list[str] = []
        self.rejected = 0
        self.message = ""
        self.misled = False
        """Whether the collector is elsewhere, and nothing was sent there."""

    @property
    def reason(self) -> str:
        """Why the export failed.

        The exporter's last line may only say that it gave up, the one before it why.
        """
        heard = dict.fromkeys(line.rstrip(".") for line in reversed(self.logged[-2:]))
        why = "; before that: ".join(heard)
        return f"{why}; the collector says: {self.message}" if self.message else why


class _Answers(logging.Filter):
    """Holds back warnings that a thread logs between `begin` and `end`.

    OTLP's exporters log each try of each batch; we log the last ones once a streak.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last = SILENCE
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self._here = threading.local()

    def begin(self) -> Answer:
        """Listen to what this thread's exporter and the collector say from now on."""
        self._here.answer = answer = Answer()
        return answer

    def end(self, answer: Answer) -> None:
        """Listen no longer."""
        del self._here.answer
        self.last = answer.reason or SILENCE

    @property
    def current(self) -> Answer | None:
        """The answer that this thread listens to."""
        return getattr(self._here, "answer", None)

    def raised(self, error: Exception) -> SpanExportResult:
        """Note *error*; the HTTP exporter raised it up to opentelemetry 1.30."""
        self._here.answer.logged.append(f"{class_name(error)}: {error}")
        return SpanExportResult.FAILURE

    def filter(self, record: logging.LogRecord) -> bool:
        answer = self.current
        if record.levelno < logging.WARNING or answer is None:
            return True
        answer.logged.append(record.getMessage())
        self.last = answer.reason
        return False


ANSWERS: Final = _Answers()

for _name in (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
):
    # First: a filter of the SDK's hides what was logged in the last 20 s already
    # (opentelemetry-sdk 1.45).
    logging.getLogger(_name).filters.insert(0, ANSWERS)


def taken(response: ExportTraceServiceResponse | ExportLogsServiceResponse) -> None:
    """Note what the collector took, and how much it rejects of that."""
    answer = ANSWERS.current
    if answer is None:
        return
    partial = response.partial_success
    if isinstance(response, ExportLogsServiceResponse):
        rejected = response.partial_success.rejected_log_records
    else:
        rejected = response.partial_success.rejected_spans
    answer.rejected = max(0, rejected)
    answer.message = partial.error_message[:_MOST_TEXT]


def refused(message: str | None) -> None:
    """Note why the collector takes nothing."""
    answer = ANSWERS.current
    if answer is not None:
        answer.message = (message or "")[:_MOST_TEXT]


@guarded
def note_response(response: "requests.Response", **_: Any) -> None:
    """Note what *response* says; a hook of `requests`."""
    protobuf = response.headers.get("Content-Type", "").startswith(_PROTOBUF)
    body = response.content
    answer = ANSWERS.current
    if answer is not None:
        # The exporter takes a redirection that it does not follow for a success
        # (opentelemetry-exporter-otlp-proto-http 1.45), and one that it follows may
        # have become a request for a page.
        answer.misled = response.status_code in _REDIRECTIONS
        answer.misled |= response.request.method != "POST"
        if answer.misled:
            place = response.headers.get("Location", response.url)
            answer.logged.append(f"it redirects to {shown(place[:_MOST_TEXT])}")
            return
    try:
        if response.ok:
            # A response about logs is written in the same bytes.
            taken(ExportTraceServiceResponse.FromString(body if protobuf else b""))
        else:
            refused(Status.FromString(body).message if protobuf else response.text)
    except DecodeError:
        # Something else than a collector answers.
        pass
