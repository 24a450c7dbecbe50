"""The Instrumentation: the parts of one instrumented huey, begun and ended."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from multiprocessing import util
from typing import Final, Self

from huey.api import Huey

from huey_otel._hooks import consumer as consumers
from huey_otel._hooks import huey as hueys
from huey_otel._hooks import storage as storages
from huey_otel._hooks.observation import Observation
from huey_otel._options.settings import Settings
from huey_otel._options.values import SECONDS
from huey_otel._otel.provider import ResolvedProvider
from huey_otel._process.outputs import Destinations, Outputs
from huey_otel._process.shared import shared
from huey_otel._safety import encodable
from huey_otel._safety.forks import in_child, look_around
from huey_otel._safety.log import RETICENT, warn_once
from huey_otel._safety.losses import LOSSES
from huey_otel._safety.shutdown import LAST_PAGE, before_atexit
from huey_otel._wire.record import Sink

_LAST: Final = -100
"""Priority of our finalizer: behind multiprocessing's own, which joins the workers."""

INSTRUMENTATIONS: Final[list["Instrumentation"]] = []
"""All that have begun and were not undone, also those that do nothing."""


class Instrumentation:
    """What `instrument` returns. As a context manager it uninstruments at its end.

    With HUEY_OTEL_DISABLED all methods do nothing. `automatic` is true if the
    application's code did not ask for it, as under opentelemetry-instrument.
    """

    def __init__(
        self, huey: Huey, settings: Settings, *, automatic: bool = False
    ) -> None:
        self.automatic = automatic
        self.settings = settings
        self._huey = huey
        self._observation: Observation | None = None
        if not settings.disabled:
            # First: it may renew what the process shares.
            look_around()
            self._shared = shared()
            self._number = next(self._shared.numbers)
            exposition = self._shared.exposition(
                self._number, settings.registry, settings.exposed
            )
            self._outputs = Outputs(huey, settings, self._shared.relay, exposition)

    def begin(self) -> Self:
        """Swap our classes in, and return this: what huey does from now on is seen.

        Raises RuntimeError where huey's consumer has forked its workers already.
        """
        warn_once(self.settings.warnings)
        if self.settings.disabled:
            # Events that other processes publish can still be read here.
            known = Destinations(self._huey.name, self.settings)
            storages.observe(self._huey.storage, *known.of(self._huey.storage))
            INSTRUMENTATIONS.append(self)
            return self
        if not self.settings.tracebacks:
            RETICENT.add(self)
        self._observation = Observation(
            self._huey, self._number, self.settings, self._shared, self._outputs
        )
        INSTRUMENTATIONS.append(self)
        try:
            self._shared.add(self._number, self._outputs)
            self._outputs.load()
            if self.settings.logs_export is not None:
                _EXIT.deliver_early()
            made = consumers.existing(self._huey)
            hueys.observe(self._huey, self._observation)
            for consumer in made:
                consumers.adopt(consumer, self._observation)
        except BaseException:
            # A class that cannot be subclassed without arguments of its own.
            self.uninstrument()
            raise
        return self

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all telemetry so far is delivered. Return whether it is.

        *timeout* is in seconds; None means `flush_timeout`. Raises TypeError or
        ValueError if it is not a number of seconds.
        """
        if timeout is None:
            timeout = self.settings.flush_timeout
        timeout = SECONDS.checked(timeout, f"timeout={timeout!r}")
        return self._observation is None or self._outputs.flush(timeout)

    def uninstrument(self) -> None:
        """Put huey's own classes back. Telemetry so far is still delivered."""
        if self not in INSTRUMENTATIONS:
            return
        INSTRUMENTATIONS.remove(self)
        observation, self._observation = self._observation, None
        if observation is None:
            storages.release(self._huey.storage)
            return
        hueys.release(self._huey, observation)
        self._outputs.ends()
        self._outputs.flush(self.settings.flush_timeout)
        self._outputs.close()
        # While its series are still there.
        self._outputs.close_page(LAST_PAGE)
        with self._shared.showing:
            self._shared.remove(self._number)
        # What a consumer that started meanwhile has made.
        self._outputs.close()
        self._outputs.close_page()
        RETICENT.discard(self)

    @property
    def channel(self) -> str:
        """The channel of the queue's events, even if none are published."""
        destinations = Destinations(self._huey.name, self.settings)
        _, channel = destinations.of(self._huey.storage)
        return channel

    @property
    def dropped(self) -> Mapping[str, int]:
        """How much telemetry was lost so far, by reason.

        Counts the losses of this queue, and those of this process and its workers
        that belong to no queue.
        """
        return LOSSES.counts(encodable.name(self._huey.name))

    def __repr__(self) -> str:
        queue = f"<Instrumentation of queue {self._huey.name!r}"
        if self.settings.disabled:
            return f"{queue}: off, HUEY_OTEL_DISABLED is set>"
        if self._observation is None:
            return f"{queue}: undone>"
        outputs = self._outputs
        page = self._shared.page.where(outputs.exposition, self.settings.exposed)
        return (
            f"{queue}: metrics {page}; events {outputs.where_events_go};"
            f" spans {outputs.tracer}>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.uninstrument()

    def diverted(
        self, provider: ResolvedProvider, sink: Sink
    ) -> AbstractContextManager[None]:
        """Send spans to *provider* and records to *sink*, and nowhere else."""
        return self._outputs.diverted(provider, sink)


def instrumentation_of(huey: Huey) -> Instrumentation | None:
    """The Instrumentation of *huey*, None if it has none."""
    for known in list(INSTRUMENTATIONS):
        if known._huey is huey:  # noqa: SLF001 - of this module's own class
            return known
    return None


class _Exit:
    """Delivers what is left in the last moment of a process, and of its children."""

    def __init__(self) -> None:
        self._early = False
        self._begin()
        in_child(self._begin)
        # A child of multiprocessing forgets all finalizers once it has been forked.
        util.register_after_fork(self, _Exit._begin)

    def _begin(self) -> None:
        util.Finalize(None, self._deliver, exitpriority=_LAST)

    def deliver_early(self) -> None:
        """Deliver log records before the application's logger provider is shut down.

        The SDK does that by `atexit`, and what comes later is lost without a word.
        """
        if not self._early:
            self._early = True
            before_atexit(self._deliver_logs)

    def _deliver_logs(self) -> None:
        for known in list(INSTRUMENTATIONS):
            observation = known._observation  # noqa: SLF001 - likewise
            if observation is not None and known.settings.logs_export is not None:
                observation.consumer.process_ends()

    def _deliver(self) -> None:
        consumers = [
            known._observation.consumer  # noqa: SLF001 - likewise
            for known in list(INSTRUMENTATIONS)
            if known._observation is not None  # noqa: SLF001 - likewise
        ]
        for consumer in consumers:
            consumer.process_exits()
        # What belongs to no queue is on the page of one of them.
        for consumer in consumers:
            consumer.process_leaves()


_EXIT: Final = _Exit()
