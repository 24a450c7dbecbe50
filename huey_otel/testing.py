"""For an application's own tests: the spans and events of a queue, kept in memory."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from huey.api import Huey
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NoOpTracer

from huey_otel._otel.provider import ResolvedProvider
from huey_otel._setup.instrument import instrument
from huey_otel._setup.instrumentation import instrumentation_of
from huey_otel._wire.numbering import Numbering
from huey_otel._wire.record import Record, Source
from huey_otel.events import Event

_FLUSH: Final = 5.0
_PAUSE: Final = 0.01


class _Kept(SpanProcessor):
    """Keeps spans; the SDK's SimpleSpanProcessor would swallow a task's timeout."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


class Telemetry:
    """What `capture` has seen so far.

    `tracer_provider` is where the spans go, whatever OTEL_TRACES_SAMPLER says;
    spans that a test or a task makes with it are kept as well.
    """

    def __init__(self, flush: Callable[[float], bool]) -> None:
        self._flush = flush
        self._kept = _Kept()
        self._numbering = Numbering()
        self._events: list[Event] = []
        self.tracer_provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(self._kept)

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans that have ended, by the time of their start."""
        return sorted(self._kept.spans, key=lambda span: span.start_time or 0)

    @property
    def events(self) -> list[Event]:
        """All events that Redis readers would have got, in their order."""
        self._flush(_FLUSH)
        return list(self._events)

    def wait(self, enough: Callable[["Telemetry"], bool], timeout: float = 5.0) -> None:
        """Wait until *enough* returns true; TimeoutError after *timeout* seconds.

        A consumer reports the end of a task after it has stored its result.
        """
        deadline = time.monotonic() + timeout
        while not enough(self):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"not enough after {timeout} s:"
                    f" spans {[span.name for span in self.spans]},"
                    f" events {[event['status'] for event in self.events]}"
                )
            time.sleep(_PAUSE)

    def clear(self) -> None:
        """Forget the spans and events so far."""
        self._flush(_FLUSH)
        self._kept.spans.clear()
        self._events.clear()

    def __call__(self, record: Record, source: Source) -> None:
        """Keep *record* if it is published, as a sink does."""
        event = self._numbering.event_of(record, source)
        if event is not None:
            self._events.append(json.loads(event))


@contextmanager
def capture(huey: Huey) -> Iterator[Telemetry]:
    """Keep the spans and events of *huey* in memory, and send them nowhere.

    A huey that the application has instrumented keeps its settings. Any other is
    instrumented for the block. Works in immediate mode, with `huey.execute`, and
    with a consumer in this process. From worker processes only events arrive.
    Raises RuntimeError if HUEY_OTEL_DISABLED or OTEL_SDK_DISABLED is set.
    """
    with ExitStack() as stack:
        instrumentation = instrumentation_of(huey)
        if instrumentation is None:
            instrumentation = instrument(huey, events=None, metrics_port=None)
            stack.enter_context(instrumentation)
        if instrumentation.settings.disabled:
            raise RuntimeError("HUEY_OTEL_DISABLED is set: nothing to capture")
        telemetry = Telemetry(instrumentation.flush)
        provider = ResolvedProvider(telemetry.tracer_provider, "to `capture`")
        if isinstance(provider.tracer, NoOpTracer):
            raise RuntimeError("OTEL_SDK_DISABLED is set: no spans to capture")
        stack.enter_context(instrumentation.diverted(provider, telemetry))
        yield telemetry
