"""The metrics of the semantic conventions, recorded by an OpenTelemetry meter."""

import threading
from collections.abc import Callable, Mapping
from functools import partial

from opentelemetry import metrics
from opentelemetry.metrics import Counter, Histogram, MeterProvider

from huey_otel import _names as n
from huey_otel import mapping
from huey_otel._options.buckets import SEMCONV_BUCKETS
from huey_otel._otel.flusher import FLUSHER
from huey_otel._safety.forks import in_child
from huey_otel._safety.version import version
from huey_otel._wire.record import Record, Source, TaskFacts
from huey_otel.events import EVENT_LOST


class SemconvMetrics:
    """A sink that counts messages sent and consumed, and times sending and processing.

    The relay calls it, so it never runs in a worker process. *provider* is called
    at the first record.
    """

    def __init__(self, provider: Callable[[], MeterProvider]) -> None:
        self._provider = provider
        self._tasks: set[str] = set()
        self._renew()
        in_child(self._renew)

    def _renew(self) -> None:
        self._made: _Instruments | None = None

    def __call__(self, record: Record, source: Source) -> None:
        if record.status == mapping.DEQUEUED and record.worker == n.SCHEDULER:
            # The scheduler only moves the message to the queue.
            return
        task = None if record.facts is None else TaskFacts(*record.facts).name
        extra = record.extra or {}
        seconds = extra.get("duration")
        values = extra.get("values", {} if seconds is None else {seconds: 1})
        attributes_of = partial(self._attributes, source.queue, task)
        if record.status == mapping.SENT:
            attributes = attributes_of(n.ENQUEUE, n.TYPE_SEND)
            if extra.get("exception") is not None:
                attributes[n.ERROR_TYPE] = extra["exception"]
            self._instruments.sent.add(extra.get("number", 1), attributes)
            _record(self._instruments.operation, values, attributes)
        elif record.status == mapping.DEQUEUED:
            attributes = attributes_of(n.DEQUEUE, n.TYPE_RECEIVE)
            self._instruments.consumed.add(extra.get("number", 1), attributes)
        elif values and (record.status == EVENT_LOST or mapping.closes(extra)):
            lost = record.status == EVENT_LOST
            outcome = n.OUTCOME_LOST if lost else extra["outcome"]
            attributes = attributes_of(n.PROCESS, n.TYPE_PROCESS)
            if outcome in mapping.FAILURES:
                attributes[n.ERROR_TYPE] = extra.get("exception") or outcome
            _record(self._instruments.process, values, attributes)

    def _attributes(
        self, queue: str, task: str | None, operation: str, kind: str
    ) -> dict[str, str]:
        return {
            n.MESSAGING_SYSTEM: n.SYSTEM,
            n.MESSAGING_OPERATION_NAME: operation,
            n.MESSAGING_OPERATION_TYPE: kind,
            n.MESSAGING_DESTINATION_NAME: queue,
            n.TASK_NAME: self._task(task),
        }

    def _task(self, name: str | None) -> str:
        """*name*, or `_other` after the first 500 names."""
        if name is None or (
            name not in self._tasks and len(self._tasks) >= n.MOST_TASKS
        ):
            return n.OTHER_TASK
        self._tasks.add(name)
        return name

    def flush(self) -> threading.Event | None:
        """Begin to export what was recorded, if anything was."""
        return None if self._made is None else FLUSHER.flush(self._made.provider)

    @property
    def _instruments(self) -> "_Instruments":
        if self._made is None:
            self._made = _Instruments(self._provider())
        return self._made


class _Instruments:
    """The instruments of messaging-metrics.md, v1.44."""

    def __init__(self, provider: MeterProvider) -> None:
        self.provider = provider
        meter = metrics.get_meter(n.DISTRIBUTION, version(), meter_provider=provider)

        def histogram(name: str, description: str) -> Histogram:
            return meter.create_histogram(
                name,
                unit="s",
                description=description,
                explicit_bucket_boundaries_advisory=SEMCONV_BUCKETS,
            )

        def counter(name: str, description: str) -> Counter:
            return meter.create_counter(name, unit="{message}", description=description)

        self.operation = histogram(
            n.CLIENT_OPERATION_DURATION,
            "Duration of messaging operation initiated by a producer or consumer"
            " client.",
        )
        self.process = histogram(
            n.PROCESS_DURATION, "Duration of processing operation."
        )
        self.sent = counter(
            n.CLIENT_SENT_MESSAGES,
            "Number of messages producer attempted to send to the broker.",
        )
        self.consumed = counter(
            n.CLIENT_CONSUMED_MESSAGES,
            "Number of messages that were delivered to the application.",
        )


def _record(
    histogram: Histogram, values: Mapping[float, int], attributes: dict[str, str]
) -> None:
    for seconds, number in values.items():
        for _ in range(number):
            histogram.record(seconds, attributes)
