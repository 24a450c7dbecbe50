"""The consumer's mixin: its workers are known, and the death of one is noticed."""

from typing import Any

import huey.consumer
from huey.consumer import Consumer, Worker

from huey_otel.events import CONSTANTS
from huey_otel.observed.naming import put_back, swap
from huey_otel.observed.workers import Workers

# huey 2.x has no recycling.
_RECYCLED: tuple[type[Exception], ...] = tuple(
    kind for kind in (getattr(huey.consumer, "WorkerRecycle", None),) if kind
)


class ObservedWorker(Worker):
    """Says who it is before its first task, and why it ends of itself."""

    def initialize(self) -> None:
        workers_of(self.huey).worker_begins()
        super().initialize()

    def loop(self, now: Any = None) -> None:
        try:
            super().loop(now)
        except _RECYCLED:
            workers_of(self.huey).worker_ends("max_tasks")
            raise
        except KeyboardInterrupt:
            raise
        except BaseException:
            workers_of(self.huey).worker_ends("failed")
            raise


class ObservedConsumer(Consumer):
    """Prepares the relay before it forks, and watches its workers."""

    def start(self) -> None:
        workers = workers_of(self.huey)
        workers.consumer_starts(self)
        super().start()
        workers.workers_started(self)

    def stop(self, graceful: Any = False) -> None:  # noqa: FBT002 - as huey has it
        workers_of(self.huey).consumer_stopping()
        super().stop(graceful)

    def check_worker_health(self) -> Any:
        workers = workers_of(self.huey)
        workers.scheduler_checked(self)
        healthy = super().check_worker_health()
        workers.workers_started(self)
        return healthy

    def _create_worker(self) -> Worker:
        worker: Worker = super()._create_worker()
        swap(worker, ObservedWorker)
        return worker


def workers_of(instrumented: Any) -> Workers:
    """What watches the workers of *instrumented*, as long as it is that."""
    workers: Workers = instrumented._huey_otel.workers
    return workers


def observe(consumer: Consumer) -> None:
    """Swap the class of *consumer* and of the workers it has made already."""
    swap(consumer, ObservedConsumer)
    for worker, _ in consumer.worker_threads:
        swap(worker, ObservedWorker)


def release(consumer: Consumer) -> None:
    """Put the classes of *consumer* and its workers back."""
    for thing in (consumer, *(worker for worker, _ in consumer.worker_threads)):
        put_back(thing)


def offer_constants() -> None:
    """Put EVENT_* on `huey.consumer`, where huey 1.x had them, as far as missing."""
    for name, value in CONSTANTS.items():
        if not hasattr(huey.consumer, name):
            setattr(huey.consumer, name, value)
