"""The mixin of a huey, and how its storage and serializer are followed."""

import sys
from types import FrameType
from typing import Any, Final

from huey.api import Huey

from huey_otel._hooks import consumer as consumers
from huey_otel._hooks import serializer as serializers
from huey_otel._hooks import storage as storages
from huey_otel._hooks.enqueueing import enqueueing
from huey_otel._hooks.executing import executing
from huey_otel._hooks.observation import Observation
from huey_otel._safety.guard import guarded
from huey_otel._safety.swapping import put_back, swap
from huey_otel._safety.timeout import limited
from huey_otel._storage.carriers import is_hueys
from huey_otel._tasks.context import Bodies

_DJHUEY: Final = "huey.contrib.djhuey"
_CALLS_FROM_A_CONSUMER: Final = 3
_SET_BY_A_CONSUMER: Final = "_timeout_handler"


class ObservedHuey(Huey):
    """A huey with the hooks of `following`, `enqueueing` and `executing`.

    They call the method below in between, and nothing else. Arguments and results pass
    as they are: below may be a user's own subclass with more of them.
    """

    _huey_otel: Observation


def following(seen: Observation, below: Any) -> type[Huey]:  # noqa: C901 - methods
    """The hooks of a huey whose own class is *below*, as in `enqueueing`."""

    class FollowingHuey(Huey):
        """The part that follows the storage, the serializer and the consumers."""

        def __setattr__(self, name: str, value: Any) -> None:
            below.__setattr__(self, name, value)
            if getattr(self, "_huey_otel", None) is not seen:
                return
            if name == "storage":
                # Also when `immediate` changes: huey makes another storage.
                guarded(follow_storage)(seen, value)
            elif name == "serializer":
                guarded(follow_serializer)(seen, value)
            elif name == _SET_BY_A_CONSUMER:
                # In huey 3 the consumer's __init__ sets it: the only sign, before the
                # forks, of a consumer that is made without `create_consumer`. Up to
                # huey 3.4 by its environment and by a method of the huey.
                frame: FrameType | None = sys._getframe(1)
                for _ in range(_CALLS_FROM_A_CONSUMER):
                    if frame is not None:
                        consumers.observe(frame.f_locals.get("self"), seen)
                        frame = frame.f_back

        @property
        def _timeout_handler(self) -> Any:
            """What huey 3 enters for a task with a timeout; None without timeouts."""
            try:
                handler = vars(self)[_SET_BY_A_CONSUMER]
            except KeyError:
                raise AttributeError(_SET_BY_A_CONSUMER) from None
            return None if handler is None else limited(handler)

        @_timeout_handler.setter
        def _timeout_handler(self, handler: Any) -> None:
            vars(self)[_SET_BY_A_CONSUMER] = handler

        def create_consumer(self, *args: Any, **options: Any) -> Any:
            consumer = below.create_consumer(self, *args, **options)
            consumers.observe(consumer, seen)
            return consumer

        def notify_interrupted_tasks(self, *args: Any, **kwargs: Any) -> Any:
            result = below.notify_interrupted_tasks(self, *args, **kwargs)
            seen.consumer.stops()
            return result

    return FollowingHuey


def observe(huey: Huey, seen: Observation) -> None:
    """Swap the classes of *huey*, its storage and its serializer."""
    # A copy of an instrumented huey has the class that was made for that one.
    put_back(huey)
    follow_storage(seen, huey.storage)
    follow_serializer(seen, huey.serializer)
    hooks = [make(seen, type(huey)) for make in (following, enqueueing, executing)]
    swap(huey, ObservedHuey, *hooks, _huey_otel=seen)
    observed: Any = huey
    observed._tasks_in_flight = Bodies(_own_tasks(huey))
    _rebind(huey)


def follow_storage(seen: Observation, storage: Any) -> None:
    """The huey of *seen* has *storage* from now on."""
    if seen.storage is not storage:
        storages.release(seen.storage)
        seen.storage = storage
    storages.observe(storage, *seen.outputs.follow(storage))


def follow_serializer(seen: Observation, serializer: Any) -> None:
    """The huey of *seen* has *serializer* from now on."""
    serializers.release(seen.serializer)
    seen.serializer = serializer
    serializers.observe(serializer)
    seen.enveloped = not is_hueys(serializer)


def release(huey: Huey, seen: Observation) -> None:
    """Put back all that `observe` and the hooks have swapped."""
    for consumer in list(seen.consumers):
        consumers.release(consumer)
    seen.consumers.clear()
    if getattr(huey, "_huey_otel", None) is seen:
        put_back(huey)
        huey._tasks_in_flight = _own_tasks(huey)
        _rebind(huey)
    serializers.release(seen.serializer)
    storages.release(seen.storage)


def _own_tasks(huey: Huey) -> set[Any]:
    """The tasks in flight, as huey has them itself."""
    tasks: Any = huey._tasks_in_flight
    return tasks.own if isinstance(tasks, Bodies) else tasks


def _rebind(huey: Huey) -> None:
    """Renew `huey.contrib.djhuey.enqueue`, a method that was bound at import."""
    djhuey: Any = sys.modules.get(_DJHUEY)
    if djhuey is not None and getattr(djhuey, "HUEY", None) is huey:
        djhuey.enqueue = huey.enqueue
