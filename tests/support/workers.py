"""A main process that forks workers, and the spans that each of them exports."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from huey import MemoryHuey
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from prometheus_client import CollectorRegistry

from huey_otel import Instrumentation, instrument, mapping
from huey_otel._wire.record import Record
from tests.support.forks import fork
from tests.support.recorded import Drain
from tests.support.relays import end

Say = Callable[[ReadableSpan], Any]


class ToFile(SpanExporter):
    """Writes a line for each span, and which process has exported it."""

    def __init__(self, path: Path, say: Say) -> None:
        self._path = path
        self._say = say
        self.parent = os.getpid()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        by = "main" if os.getpid() == self.parent else "worker"
        with self._path.open("a") as file:
            for span in spans:
                line = {**self._say(span), "resource": self._resource(span)}
                file.write(json.dumps([by, span.context.span_id, repr(line)]) + "\n")
        return SpanExportResult.SUCCESS

    def _resource(self, span: ReadableSpan) -> list[Any]:
        attributes = dict(span.resource.attributes)
        own = attributes.pop("service.instance.id", None)
        return [attributes, own if own is None else "of a process"]

    @property
    def lines(self) -> list[tuple[str, int, str]]:
        if not self._path.exists():
            return []
        return [tuple(json.loads(line)) for line in self._path.read_text().splitlines()]


class Main:
    """The main process of a consumer, which forks workers."""

    def __init__(
        self, path: Path, provider: TracerProvider, say: Say, **options: Any
    ) -> None:
        self.exporter = ToFile(path, say)
        self.provider = provider
        provider.add_span_processor(BatchSpanProcessor(self.exporter))
        self.huey: Any = MemoryHuey("shop")
        self.huey.tracer = provider.get_tracer("application")
        self.seen: Instrumentation = instrument(
            self.huey,
            registry=CollectorRegistry(),
            **{"tracer_provider": provider, **options},
        )
        self.relay = self.seen._shared.relay
        self.seen._outputs.tracer.resolved()
        self.relay.open_pipe()

    def work(self, before: Any = None, after: Any = None) -> None:
        """Execute in a forked worker what is queued."""

        def worker() -> None:
            if before is not None:
                before()
            Drain(self.huey)()
            assert self.relay.flush(5.0)
            self.provider.force_flush()
            if after is not None:
                after()

        assert fork(worker).join() == 0

    def kill(self, before: Any = None) -> None:
        """Execute in a forked worker what is queued, which kills that."""

        def worker() -> None:
            if before is not None:
                before()
            Drain(self.huey)()

        child = fork(worker)
        assert child.join() == -9
        # A death is told behind all that the worker wrote.
        assert self.relay.flush(5.0)
        number = self.seen._number
        self.relay.send(
            Record(number, mapping.GONE, 2e9, child.pid, 0, None, None, None, None)
        )

    def deliver(self) -> None:
        assert self.relay.flush(5.0)
        self.provider.force_flush()

    def close(self) -> list[tuple[str, int, str]]:
        """The spans that were exported, by whom, by their ids."""
        self.deliver()
        self.seen.uninstrument()
        self.provider.shutdown()
        end(self.relay)
        # It is the process' own, and starts again with the next record.
        self.relay._waker = None
        self.relay._asleep = True
        return sorted(self.exporter.lines, key=lambda line: line[1])
