"""The observation: all that sees one instrumented huey."""

import weakref
from collections.abc import Callable
from typing import Any

from huey.api import Huey
from huey.constants import WORKER_PROCESS
from huey.consumer import Consumer

from huey_otel._hooks import consumer as consumers
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import warn
from huey_otel._tasks.dequeue import Dequeue
from huey_otel._tasks.enqueue import Enqueue
from huey_otel._tasks.errors import Errors
from huey_otel._tasks.execute import Execution
from huey_otel._tasks.recorder import Recorder
from huey_otel._tasks.tracing import Tracing
from huey_otel._tasks.workers import Lifecycle, Workers


class Observation:
    """What the mixin of a huey calls, by what it is about.

    *owner* is the Instrumentation that made it. *storage_is* is called with each
    storage that the huey makes. `alone` until a consumer of the huey is known, or was
    looked for.
    """

    def __init__(
        self,
        owner: Any,
        recorder: Recorder,
        tracing: Tracing,
        *,
        storage_is: Callable[[Any], None],
        lifecycle: Lifecycle,
    ) -> None:
        self.owner = owner
        self.enqueue = Enqueue(recorder, tracing)
        self.dequeue = Dequeue(recorder)
        self.errors = Errors(recorder, tracing)
        self.execution = Execution(recorder, tracing, self.errors)
        self.workers = Workers(recorder, lifecycle)
        self._storage_is = storage_is
        self.alone = True
        self._consumers: weakref.WeakSet[Consumer] = weakref.WeakSet()

    @guarded
    def storage_made(self, storage: Any) -> None:
        """Huey has made *storage*, as it does when `immediate` changes."""
        self._storage_is(storage)

    @guarded
    def consumer_made(self, consumer: Consumer) -> None:
        """Huey has made *consumer*, which has not started yet."""
        self._see(consumer)

    @guarded
    def consumer_begins(self, consumer: object) -> None:
        """*consumer* is being made, if it is one, and has no workers yet."""
        if isinstance(consumer, Consumer):
            self._see(consumer)

    def _see(self, consumer: Consumer) -> None:
        self.alone = False
        consumers.observe(consumer)
        self._consumers.add(consumer)

    @guarded
    def find_consumer(self, huey: Huey) -> None:
        """Look for a consumer of *huey* that was not made by `create_consumer`.

        Called once, when the first message is popped.
        """
        self.alone = False
        for consumer in consumers.existing(huey):
            try:
                self.adopt(consumer)
            except RuntimeError as error:
                warn("%s", error)

    def adopt(self, consumer: Consumer) -> None:
        """See *consumer* too, which was made by others, and may run already.

        Raises RuntimeError where it has forked its workers, which nothing reaches.
        """
        started = consumers.has_started(consumer)
        if started and consumer.worker_type == WORKER_PROCESS:
            raise RuntimeError(
                f"the consumer of queue {consumer.huey.name!r} has forked its workers"
                " already, and they cannot be observed any more: call"
                " instrument(huey) where the queue is defined, and make the consumer"
                " by huey.create_consumer()"
            )
        self._see(consumer)
        if started:
            self.workers.consumer_starts(consumer)
            self.workers.consumer_started(consumer)

    def release_consumers(self) -> None:
        """Put the classes of all its consumers back."""
        for consumer in list(self._consumers):
            consumers.release(consumer)
        self._consumers.clear()
