"""The mixins of a consumer and its workers, and how consumers are found."""

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
from huey_otel._tasks.workers import worker_name
from huey_otel.events import CONSTANTS

# huey 2.x has no recycling.
_RECYCLED: tuple[type[Exception], ...] = tuple(
    kind for kind in (getattr(huey.consumer, "WorkerRecycle", None),) if kind
)


class ObservedWorker(Worker):
    """Records its name before its first task, and why it ends by itself."""

    _huey_otel_name: str

    def initialize(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = _observation(self)
        seen.workers.begins(self._huey_otel_name)
        return below.initialize(*args, **kwargs)

    def loop(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = _observation(self)
        if HERE.local.doing.worker is None:
            # It ran before its huey was instrumented.
            seen.workers.begins(self._huey_otel_name)
        try:
            return below.loop(*args, **kwargs)
        except _RECYCLED:
            seen.workers.ends(n.REASON_MAX_TASKS)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException:
            seen.workers.ends(n.REASON_DIED)
            raise


class ObservedConsumer(Consumer):
    """Records when it starts, makes and replaces workers, and stops."""

    def start(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = _observation(self)
        seen.consumer.starts(self)
        with several_forks() if self.worker_type == WORKER_PROCESS else nullcontext():
            result = below.start(*args, **kwargs)
        seen.consumer.started(self)
        return result

    def stop(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        _observation(self).consumer.stopping()
        return below.stop(*args, **kwargs)

    def check_worker_health(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = _observation(self)
        before = seen.workers.before_check(self)
        healthy = below.check_worker_health(*args, **kwargs)
        seen.workers.after_check(self, before)
        return healthy

    def _create_process(
        self, process: Any, name: str, *args: Any, **kwargs: Any
    ) -> Any:
        below: Any = super()
        seen = _observation(self)
        _observe_worker(process, name)
        made = below._create_process(process, name, *args, **kwargs)
        seen.workers.made(self, made)
        return made


def _observation(thing: Any) -> Observation:
    """What sees the huey of *thing*, a consumer or a worker."""
    seen: Observation = thing.huey._huey_otel
    return seen


@guarded
def _observe_worker(worker: Any, name: str) -> None:
    if isinstance(worker, Worker):
        swap(worker, ObservedWorker, _huey_otel_name=name)


@guarded
def observe(consumer: object) -> None:
    """Swap the class of *consumer*, if it is one, and of the workers it has made."""
    if isinstance(consumer, Consumer):
        _observe(consumer)


def _observe(consumer: Consumer) -> None:
    seen = _observation(consumer)
    seen.alone = False
    swap(consumer, ObservedConsumer)
    for number, (worker, _) in enumerate(_made(consumer), 1):
        _observe_worker(worker, worker_name(number))
    seen.consumers.add(consumer)


def _made(consumer: Consumer) -> list[tuple[Any, Any]]:
    """The workers of *consumer* with their threads; none yet while it is made."""
    return getattr(consumer, "worker_threads", [])


@guarded
def find(huey: Any) -> None:
    """Observe a consumer of *huey* that was not made by `create_consumer`.

    Called once, when the first message is popped.
    """
    huey._huey_otel.alone = False
    for consumer in existing(huey):
        try:
            adopt(consumer)
        except RuntimeError as error:
            warn("%s", error)


def adopt(consumer: Consumer) -> None:
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
    _observe(consumer)
    if started:
        seen = _observation(consumer)
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


def offer_constants() -> None:
    """Put EVENT_* on `huey.consumer`, where huey 1.x had them, as far as missing."""
    for name, value in CONSTANTS.items():
        if not hasattr(huey.consumer, name):
            setattr(huey.consumer, name, value)
