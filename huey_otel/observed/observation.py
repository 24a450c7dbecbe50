"""The observation: all that sees one instrumented huey."""

import weakref
from collections.abc import Callable
from typing import Any

from huey.consumer import Consumer

from huey_otel._guard import guarded
from huey_otel.observed import consumer as consumers
from huey_otel.observed.errors import Errors
from huey_otel.observed.inward import Inward
from huey_otel.observed.outward import Outward
from huey_otel.observed.recorder import Recorder
from huey_otel.observed.runs import Runs
from huey_otel.observed.tracing import Tracing
from huey_otel.observed.workers import Lifecycle, Workers


class Observation:
    """What the mixin of a huey calls, by what it is about.

    *owner* is whoever made it. *storage_is* is called with each storage that
    the huey makes.
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
        self.outward = Outward(recorder, tracing)
        self.inward = Inward(recorder)
        self.errors = Errors(recorder, tracing)
        self.runs = Runs(recorder, tracing, self.errors)
        self.workers = Workers(recorder, lifecycle)
        self._storage_is = storage_is
        self._consumers: weakref.WeakSet[Consumer] = weakref.WeakSet()

    @guarded
    def storage_made(self, storage: Any) -> None:
        """Huey has made *storage*, as it does when `immediate` changes."""
        self._storage_is(storage)

    @guarded
    def consumer_made(self, consumer: Consumer) -> None:
        """Huey has made *consumer*, which has not started yet."""
        consumers.observe(consumer)
        self._consumers.add(consumer)

    def release_consumers(self) -> None:
        """Put the classes of all its consumers back."""
        for consumer in list(self._consumers):
            consumers.release(consumer)
        self._consumers.clear()
