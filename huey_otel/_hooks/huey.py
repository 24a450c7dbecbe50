"""The huey's mixin: the calls of huey's in which a task's life can be seen."""

import sys
from typing import Any, Final

from huey.api import Huey

from huey_otel._hooks.enqueueing import EnqueueingHuey
from huey_otel._hooks.executing import ExecutingHuey
from huey_otel._hooks.observation import Observation
from huey_otel._safety import encodable
from huey_otel._safety.swapping import put_back, swap
from huey_otel._safety.timeout import limited
from huey_otel._tasks.context import Bodies

_DJHUEY: Final = "huey.contrib.djhuey"
_SET_BY_A_CONSUMER: Final = "_timeout_handler"


class ObservedHuey(EnqueueingHuey, ExecutingHuey):
    """Wraps huey's public methods, and only calls the one below in between.

    Arguments and results pass as they are: below may be a user's own subclass
    with more of them. `caller` is put back by every method that changes it,
    also when a task's timeout comes in between; what is set at the begin and
    the end of a body is absolute, so nothing that was missed outlasts the
    attempt. `below` and `seen` are taken first: an uninstrument() may come
    while a method runs.
    """

    def create_storage(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        storage = below.create_storage(*args, **kwargs)
        seen.storage_made(storage)
        return storage

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == _SET_BY_A_CONSUMER:
            # Its __init__ does, in huey 3: nothing else tells of one that is made
            # without `create_consumer` before it forks.
            self._huey_otel.consumer_begins(sys._getframe(1).f_locals.get("self"))

    @property
    def _timeout_handler(self) -> Any:
        """What huey 3 enters for a task with a timeout; None where there are none."""
        try:
            handler = vars(self)[_SET_BY_A_CONSUMER]
        except KeyError:
            raise AttributeError(_SET_BY_A_CONSUMER) from None
        return None if handler is None else limited(handler)

    @_timeout_handler.setter
    def _timeout_handler(self, handler: Any) -> None:
        vars(self)[_SET_BY_A_CONSUMER] = handler

    def create_consumer(self, *args: Any, **options: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        consumer = below.create_consumer(*args, **options)
        seen.consumer_made(consumer)
        return consumer

    def notify_interrupted_tasks(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        result = below.notify_interrupted_tasks(*args, **kwargs)
        seen.workers.consumer_stops()
        return result


def observe(huey: Huey, observation: Observation) -> None:
    """Swap *huey*'s class, so that *observation* sees what it does."""
    swap(huey, ObservedHuey, _huey_otel=observation)
    huey._tasks_in_flight = Bodies(huey._tasks_in_flight)
    _rebind(huey)


def release(huey: Huey) -> None:
    """Put *huey*'s own class back."""
    put_back(huey)
    huey._tasks_in_flight = set(huey._tasks_in_flight)
    _rebind(huey)


def observation_of(huey: Huey) -> Observation | None:
    """What sees *huey*, None if nothing does."""
    return huey._huey_otel if isinstance(huey, ObservedHuey) else None


def registered(huey: Huey) -> list[str]:
    """The dotted paths of the tasks that *huey* knows now."""
    return [encodable.name(known) for known in huey._registry._registry]


def _rebind(huey: Huey) -> None:
    """Renew `huey.contrib.djhuey.enqueue`, a method that was bound at import."""
    djhuey: Any = sys.modules.get(_DJHUEY)
    if djhuey is not None and getattr(djhuey, "HUEY", None) is huey:
        djhuey.enqueue = huey.enqueue
