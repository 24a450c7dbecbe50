"""The producer's counter: what a process without a consumer enqueues."""

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from huey_otel import _names as n
from huey_otel._prometheus.catalog import CATALOG, Labels
from huey_otel._prometheus.claims import Unclaimed, claimed_in, is_free, register

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry, Counter, Metric

_PATIENCE: Final = 1.0
_TOTAL: Final = CATALOG[n.TASKS_ENQUEUED_TOTAL]


class _Counting:
    """A lock that is held while a counter moves, so that no fork happens meanwhile.

    A child would inherit prometheus_client's own lock taken. Not EXCLUSION: a signal
    handler may enqueue or raise at any bytecode here, which only an RLock survives.
    """

    lock = threading.RLock()
    held = threading.local()

    @classmethod
    def before_fork(cls) -> None:
        """Wait until no counter moves."""
        cls.held.taken = cls.lock.acquire(timeout=_PATIENCE)

    @classmethod
    def after_fork_in_parent(cls) -> None:
        """Let counters move again."""
        if cls.held.taken:
            cls.lock.release()

    @classmethod
    def after_fork_in_child(cls) -> None:
        """Begin with a free lock."""
        cls.lock = threading.RLock()


os.register_at_fork(
    before=_Counting.before_fork,
    after_in_parent=_Counting.after_fork_in_parent,
    after_in_child=_Counting.after_fork_in_child,
)


def _collects_files(registry: "CollectorRegistry") -> bool:
    """Whether *registry* reads the files of prometheus_client's multi-process mode."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return False
    from prometheus_client.multiprocess import MultiProcessCollector

    there = list(getattr(registry, "_collector_to_names", ()))
    return any(isinstance(one, MultiProcessCollector) for one in there)


class ProducerCounter:
    """huey_tasks_enqueued_total as a Counter of prometheus_client's.

    So it works in the multi-process mode too. *registry* None is the default one. The
    first `inc` imports and makes the Counter. Its `_created` is not shown, as it would
    double the number of series. `over` is True once `retired` was called.
    """

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        self._registry = registry
        self._counter: Counter | None = None
        self._children: dict[Labels, Counter] = {}
        self._registered: Unclaimed | None = None
        self._sharing: set[CollectorRegistry] = set()
        self.over = False
        self._counting = False
        self._waiting: deque[Labels] = deque()

    def inc(self, queue: str, task: str, origin: str) -> None:
        """Count one message that the storage has taken."""
        # A signal handler may enqueue in between: the interrupted call counts both.
        with _Counting.lock:
            self._waiting.append((queue, task, origin))
            if self._counting:
                return
            self._counting = True
            try:
                self._count()
            finally:
                self._counting = False

    def load(self) -> None:
        """Import what the first count needs, before a request waits for it."""
        import prometheus_client  # noqa: F401

    def _count(self) -> None:
        if self._counter is None and not self.over:
            self._counter = self._made()
        while self._waiting:
            labels = self._waiting.popleft()
            if self._sharing and self._gives_way():
                continue
            child = self._children.get(labels)
            if child is None and self._counter is not None:
                # `labels` takes a lock and twice as long as the count itself.
                child = self._children[labels] = self._counter.labels(*labels)
            if child is not None:
                child.inc()

    def _made(self) -> "Counter":
        from prometheus_client import REGISTRY, Counter

        counter = Counter(_TOTAL.name, _TOTAL.help, _TOTAL.labels, registry=None)
        self._registry = self._registry or REGISTRY
        self._registered = register(self, self._registry)
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            self._sharing = {self._registry, REGISTRY}
        return counter

    def _gives_way(self) -> bool:
        # In multi-process mode a name has one file, whatever the registry.
        return self._counter is not None and not all(
            is_free(metric, claimed_in(registry))
            for registry in self._sharing
            for metric in self._counter.describe()
        )

    def retired(self) -> dict[Labels, float]:
        """Leave the registry and return all counts; `inc` does nothing from then on."""
        with _Counting.lock:
            counted = list(self._counted())
            self.over = True
            self._counter = None
            self._children.clear()
            if self._registered is not None:
                self._registered.unregister()
            return {
                tuple(sample.labels[label] for label in _TOTAL.labels): sample.value
                for metric in counted
                for sample in metric.samples
            }

    def collect(self) -> "Iterator[Metric]":
        """What was counted, unless the registry has it from files."""
        if self._registry is None or not _collects_files(self._registry):
            yield from self._counted()

    def _counted(self) -> "Iterator[Metric]":
        counter = self._counter
        for metric in () if counter is None else counter.collect():
            metric.samples = [one for one in metric.samples if one.name == _TOTAL.name]
            yield metric
