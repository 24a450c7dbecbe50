"""What the hooks of one instrumented huey call, by what a call is about."""

from typing import Any
from weakref import WeakSet

from huey.api import Huey
from huey.consumer import Consumer
from huey.signals import SIGNAL_ENQUEUED

from huey_otel._options.settings import Settings
from huey_otel._process.outputs import Outputs
from huey_otel._process.shared import Shared
from huey_otel._tasks.consumer import ConsumerLife
from huey_otel._tasks.dequeue import Dequeue
from huey_otel._tasks.enqueue import Enqueue
from huey_otel._tasks.execute import Execution
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.tracing import Tracing
from huey_otel._tasks.workers import Workers


class Observation:
    """Huey's and its consumers' `_huey_otel`: the parts, and what has been swapped.

    `receivers` are called with a thread's Doing and a task, by the signal that huey
    sends. `alone` is True until a consumer of the huey is known, or was searched for
    once; `enveloped` where its serializer is not pickle's, so messages may have an
    envelope.
    """

    def __init__(
        self,
        huey: Huey,
        source: int,
        settings: Settings,
        shared: Shared,
        outputs: Outputs,
    ) -> None:
        producer = outputs.exposition.producer
        recorder = Recorder(huey, source, shared.relay, settings, producer)
        tracing = Tracing(settings, outputs, shared.relay)
        self.execution = Execution(recorder, tracing)
        self.enqueue = Enqueue(recorder, tracing, self.execution)
        self.dequeue = Dequeue(recorder)
        self.receivers = self.execution.receivers()
        if settings.publish_enqueued:
            self.receivers[SIGNAL_ENQUEUED] = self.enqueue.signaled
        self.workers = Workers(recorder)
        self.consumer = ConsumerLife(recorder, self.workers, shared, outputs)
        self.outputs = outputs
        self.alone = True
        self.enveloped = False
        self.consumers: WeakSet[Consumer] = WeakSet()
        self.serializer: Any = None
        self.storage: Any = None
