"""The tracer of one huey: found when its first span is made, or a consumer starts."""

import threading

from opentelemetry.trace import TracerProvider

from huey_otel._options.otel import Export
from huey_otel._otel import provider
from huey_otel._otel.provider import Provided
from huey_otel._safety.forks import in_child


class LazyTracer:
    """Finds the tracer late, so an application may set its provider after `instrument`.

    `ready` is the tracer once this process can flush what it exports, else None.
    """

    def __init__(
        self, given: TracerProvider | None, export: Export, queue: str
    ) -> None:
        self._given = given
        self._export = export
        self._queue = queue
        self._found: Provided | None = None
        self.ready: Provided | None = None
        in_child(self._after_fork)

    def _after_fork(self) -> None:
        self.ready = None

    def load(self) -> None:
        """Import what the first span needs."""
        provider.load(self._given, self._export)

    def provided(self) -> Provided:
        """The tracer, found now if it was not yet."""
        if self.ready is None:
            found = self._found
            if found is None:
                found = provider.resolve(self._given, self._export, self._queue)
            self.use(found)
            found.prepare()
            self.ready = found
        return self.ready

    def make(self) -> None:
        """Find it, and make its exporters now: a consumer is about to fork workers."""
        self.use(provider.resolve(self._given, self._export, self._queue, at_once=True))

    def use(self, provided: Provided | None) -> Provided | None:
        """Take *provided* from now on, None to find it again; what was taken before."""
        before, self._found, self.ready = self._found, provided, None
        return before

    def flush(self) -> threading.Event | None:
        """Begin to export what waits; the event is set when it is out."""
        return None if self._found is None else self._found.flush()

    def give_up(self) -> None:
        """The process ends: wait for spans no longer."""
        if self._found is not None:
            self._found.give_up()

    def __str__(self) -> str:
        return "not asked for yet" if self._found is None else self._found.where
