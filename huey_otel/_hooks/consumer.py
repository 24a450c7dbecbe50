"""The consumer's mixin: its workers are known, and the death of one is noticed."""

import gc
from contextlib import nullcontext
from typing import Any

import huey.consumer
from huey.api import Huey
from huey.constants import WORKER_PROCESS
from huey.consumer import Consumer, Worker

from huey_otel import _names as n
from huey_otel._safety.forks import several_forks
from huey_otel._safety.guard import guarded
from huey_otel._safety.swapping import put_back, swap
from huey_otel._tasks.context import HERE
from huey_otel._tasks.workers import Workers, worker_name
from huey_otel.events import CONSTANTS

# huey 2.x has no recycling.
_RECYCLED: tuple[type[Exception], ...] = tuple(
    kind for kind in (getattr(huey.consumer, "WorkerRecycle", None),) if kind
)


class ObservedWorker(Worker):
    """Says who it is before its first task, and why it ends of itself."""

    _huey_otel_name: str

    def initialize(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        workers_of(self.huey).worker_begins(self._huey_otel_name)
        return below.initialize(*args, **kwargs)

    def loop(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        workers = workers_of(self.huey)
        if HERE.doing.worker is None:
            # It ran before its huey was instrumented.
            workers.worker_begins(self._huey_otel_name)
        try:
            return below.loop(*args, **kwargs)
        except _RECYCLED:
            workers.worker_ends(n.REASON_MAX_TASKS)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException:
            workers.worker_ends(n.REASON_DIED)
            raise


class ObservedConsumer(Consumer):
    """Prepares the relay before it forks, and watches its workers."""

    def start(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        workers = workers_of(self.huey)
        workers.consumer_starts(self)
        with several_forks() if self.worker_type == WORKER_PROCESS else nullcontext():
            result = below.start(*args, **kwargs)
        workers.consumer_started(self)
        return result

    def stop(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        workers = workers_of(self.huey)
        workers.consumer_stopping()
        return below.stop(*args, **kwargs)

    def check_worker_health(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        workers = workers_of(self.huey)
        before = workers.before_check(self)
        healthy = below.check_worker_health(*args, **kwargs)
        workers.after_check(self, before)
        return healthy

    def _create_process(
        self, process: Any, name: str, *args: Any, **kwargs: Any
    ) -> Any:
        below: Any = super()
        workers = workers_of(self.huey)
        _observe_worker(process, name)
        made = below._create_process(process, name, *args, **kwargs)
        workers.process_made(self, made)
        return made


@guarded
def _observe_worker(worker: Any, name: str) -> None:
    if isinstance(worker, Worker):
        swap(worker, ObservedWorker, _huey_otel_name=name)


def workers_of(instrumented: Any) -> Workers:
    """What watches the workers of *instrumented*, as long as it is that."""
    workers: Workers = instrumented._huey_otel.workers
    return workers


def observe(consumer: Consumer) -> None:
    """Swap the class of *consumer* and of the workers it has made already."""
    swap(consumer, ObservedConsumer)
    for number, (worker, _) in enumerate(_made(consumer), 1):
        _observe_worker(worker, worker_name(number))


def _made(consumer: Consumer) -> list[tuple[Any, Any]]:
    """The workers of *consumer* with their threads; none yet while it is made."""
    return getattr(consumer, "worker_threads", [])


def existing(huey: Huey) -> list[Consumer]:
    """The consumers of *huey* that have been made by now and were not stopped."""
    if getattr(huey, "_timeout_handler", False) is None:
        # huey 3: its consumer sets that, and has not.
        return []
    # huey 2 keeps no reference to one, so all objects are looked at.
    objects = gc.get_objects()
    kinds = {kind for kind in set(map(type, objects)) if issubclass(kind, Consumer)}
    if not kinds:
        return []
    made: list[Any] = [one for one in objects if type(one) in kinds]
    return [
        consumer
        for consumer in made
        if getattr(consumer, "huey", None) is huey
        and hasattr(consumer, "worker_threads")
        and not consumer.stop_flag.is_set()
    ]


def has_started(consumer: Consumer) -> bool:
    """Whether *consumer* has started its scheduler, with which it begins."""
    scheduler: Any = consumer.scheduler
    # A thread and a process have an ident then, a greenlet says so itself.
    started = getattr(scheduler, "started", False)
    return bool(started or getattr(scheduler, "ident", None))


def release(consumer: Consumer) -> None:
    """Put the classes of *consumer* and its workers back."""
    for thing in (consumer, *(worker for worker, _ in _made(consumer))):
        put_back(thing)


def offer_constants() -> None:
    """Put EVENT_* on `huey.consumer`, where huey 1.x had them, as far as missing."""
    for name, value in CONSTANTS.items():
        if not hasattr(huey.consumer, name):
            setattr(huey.consumer, name, value)
