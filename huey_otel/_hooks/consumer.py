"""The hooks of a consumer and its workers, and how consumers are found."""

import gc
from contextlib import nullcontext
from typing import Any

import huey.consumer
from huey.api import Huey
from huey.constants import WORKER_PROCESS
from huey.consumer import Consumer, Worker

from huey_otel import _names as n
from huey_otel._hooks.observation import Observation
from huey_otel._safety.forks import several_forks
from huey_otel._safety.guard import guarded
from huey_otel._safety.log import warn
from huey_otel._safety.swapping import put_back, swap
from huey_otel._tasks.context import HERE
from huey_otel._tasks.signs import Signs, signs
from huey_otel._tasks.workers import worker_name

# huey 2.x has no recycling.
_RECYCLED: tuple[type[Exception], ...] = tuple(
    kind for kind in (getattr(huey.consumer, "WorkerRecycle", None),) if kind
)


class ObservedWorker(Worker):
    """A worker with the hooks of `working`."""

    _huey_otel_signs: Signs


class ObservedConsumer(Consumer):
    """A consumer with the hooks of `consuming`."""


def working(seen: Observation, below: Any, name: str, own_signs: Signs) -> type[Worker]:
    """The hooks of the worker *name*, whose own class is *below*: they tell *seen*.

    They record its name before its first task, and why it ends by itself; *own_signs*
    are where it shows that it lives.
    """

    class WorkingWorker(Worker):
        def initialize(self, *args: Any, **kwargs: Any) -> Any:
            seen.workers.begins(name)
            return below.initialize(self, *args, **kwargs)

        def loop(self, *args: Any, **kwargs: Any) -> Any:
            here = HERE.local.doing
            here.signs = own_signs
            if here.worker is None:
                # It ran before its huey was instrumented.
                seen.workers.begins(name)
            try:
                return below.loop(self, *args, **kwargs)
            except _RECYCLED:
                seen.workers.ends(n.REASON_MAX_TASKS)
                raise
            except KeyboardInterrupt:
                raise
            except BaseException:
                seen.workers.ends(n.REASON_DIED)
                raise

    return WorkingWorker


def consuming(seen: Observation, below: Any) -> type[Consumer]:
    """The hooks of a consumer whose own class is *below*: they tell *seen*.

    They record when it starts, goes on, makes and replaces workers, and stops.
    """

    class ConsumingConsumer(Consumer):
        def start(self, *args: Any, **kwargs: Any) -> Any:
            seen.consumer.starts(self)
            forks = self.worker_type == WORKER_PROCESS
            with several_forks() if forks else nullcontext():
                result = below.start(self, *args, **kwargs)
            seen.consumer.started(self)
            return result

        def stop(self, *args: Any, **kwargs: Any) -> Any:
            seen.consumer.stopping()
            return below.stop(self, *args, **kwargs)

        def loop(self, *args: Any, **kwargs: Any) -> Any:
            seen.consumer.goes_on()
            return below.loop(self, *args, **kwargs)

        def check_worker_health(self, *args: Any, **kwargs: Any) -> Any:
            before = seen.workers.before_check(self)
            healthy = below.check_worker_health(self, *args, **kwargs)
            seen.workers.after_check(self, before)
            return healthy

        def _create_process(
            self, process: Any, name: str, *args: Any, **kwargs: Any
        ) -> Any:
            _observe_worker(seen, self, process, name)
            made = below._create_process(self, process, name, *args, **kwargs)
            seen.workers.made(self, made)
            return made

    return ConsumingConsumer


@guarded
def _observe_worker(
    seen: Observation, consumer: Consumer, worker: Any, name: str
) -> None:
    if isinstance(worker, Worker):
        own = signs(consumer)
        hooks = working(seen, type(worker), name, own)
        swap(worker, ObservedWorker, hooks, _huey_otel_signs=own)


@guarded
def observe(consumer: object, seen: Observation) -> None:
    """Swap the class of *consumer*, if it is one, and of the workers it has made."""
    if isinstance(consumer, Consumer):
        _observe(consumer, seen)


def _observe(consumer: Consumer, seen: Observation) -> None:
    seen.alone = False
    swap(consumer, ObservedConsumer, consuming(seen, type(consumer)))
    for number, (worker, _) in enumerate(_made(consumer), 1):
        _observe_worker(seen, consumer, worker, worker_name(number))
    seen.consumers.add(consumer)


def _made(consumer: Consumer) -> list[tuple[Any, Any]]:
    """The workers of *consumer* with their threads; none yet while it is made."""
    return getattr(consumer, "worker_threads", [])


@guarded
def find(huey: Huey, seen: Observation) -> None:
    """Observe a consumer of *huey* that was not made by `create_consumer`.

    Called once, when the first message is popped.
    """
    seen.alone = False
    for consumer in existing(huey):
        try:
            adopt(consumer, seen)
        except RuntimeError as error:
            warn("%s", error)


def adopt(consumer: Consumer, seen: Observation) -> None:
    """Observe *consumer*, which was made before its huey was instrumented.

    Raises RuntimeError where it has forked its workers: they cannot be reached.
    """
    started = _has_started(consumer)
    if started and consumer.worker_type == WORKER_PROCESS:
        raise RuntimeError(
            f"the consumer of queue {consumer.huey.name!r} has forked its workers"
            " already, and they cannot be observed any more: call"
            " instrument(huey) where the queue is defined, and make the consumer"
            " by huey.create_consumer()"
        )
    _observe(consumer, seen)
    if started:
        seen.consumer.starts(consumer)
        seen.consumer.started(consumer)


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


def _has_started(consumer: Consumer) -> bool:
    """Whether *consumer* has started its scheduler, with which it begins."""
    scheduler: Any = consumer.scheduler
    # A thread and a process have an ident then, a greenlet has `started`.
    started = getattr(scheduler, "started", False)
    return bool(started or getattr(scheduler, "ident", None))


def release(consumer: Consumer) -> None:
    """Put the classes of *consumer* and its workers back."""
    for thing in (consumer, *(worker for worker, _ in _made(consumer))):
        put_back(thing)
