"""The huey's mixin: the calls of huey's in which a task's life can be seen."""

import sys
from typing import Any, Final

from huey.api import Huey, Task
from huey.signals import SIGNAL_ENQUEUED

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel._doing import HERE, Bodies
from huey_otel._forks import look_around
from huey_otel._guard import guarded
from huey_otel.observed.inward import Reading
from huey_otel.observed.naming import put_back, swap
from huey_otel.observed.observation import Observation
from huey_otel.observed.serializer import is_hueys

_look_around: Final = guarded(look_around)
_DJHUEY: Final = "huey.contrib.djhuey"


class ObservedHuey(Huey):
    """Wraps huey's public methods, and only calls the one below in between.

    Arguments and results pass as they are: below may be a user's own subclass
    with more of them. `caller` is put back by every method that changes it,
    also when a task's timeout comes in between; what is set at the begin and
    the end of a body is absolute, so nothing that was missed outlasts the
    attempt. `below` and `seen` are taken first: an uninstrument() may come
    while a method runs.
    """

    _huey_otel: Observation

    def create_storage(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        storage = below.create_storage(*args, **kwargs)
        seen.storage_made(storage)
        return storage

    def create_consumer(self, *args: Any, **options: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        consumer = below.create_consumer(*args, **options)
        seen.consumer_made(consumer)
        return consumer

    def enqueue(self, task: Any, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        if not isinstance(task, Task):
            # A group or chord, which huey takes apart and enqueues one by one.
            return self._enqueue_batch(task, *args, **kwargs)
        # First: it may put another HERE in the place of this one.
        _look_around()
        here = HERE.doing
        caller, outgoing = here.caller, here.outgoing
        try:
            seen.outward.enqueueing(task)
            here.caller = n.ORIGIN_CALL
            result = below.enqueue(task, *args, **kwargs)
        except BaseException as error:
            seen.runs.not_enqueued(task, error)
            raise
        else:
            seen.runs.enqueued(task)
            return result
        finally:
            mine = here.outgoing
            here.caller, here.outgoing = caller, outgoing
            if mine is not outgoing:
                seen.outward.left(mine)

    def _enqueue_batch(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        begun = seen.outward.batch(batch)
        error: BaseException | None = None
        try:
            return below.enqueue(batch, *args, **kwargs)
        except BaseException as raised:
            error = raised
            raise
        finally:
            seen.outward.batch_left(begun, error)

    def add_schedule(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.doing
        outgoing = here.outgoing
        try:
            seen.outward.scheduling(task)
            result = below.add_schedule(task, *args, **kwargs)
        except Exception as error:
            seen.runs.not_scheduled(error)
            raise
        else:
            seen.runs.scheduled(task)
            return result
        finally:
            here.outgoing = outgoing

    def serialize_task(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.doing
        try:
            here.trailer = trailer = seen.outward.trailer(task)
            here.written = False
            data = below.serialize_task(task, *args, **kwargs)
            if trailer is not None and not here.written:
                return seen.outward.enveloped(data, trailer) or data
            return data
        finally:
            here.trailer = None

    def deserialize_task(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.doing
        here.incoming = None
        opened = None if is_hueys(self.serializer) else seen.inward.opened(data)
        if opened is not None:
            data = opened[0]
        try:
            task = below.deserialize_task(data, *args, **kwargs)
        except Exception as error:
            seen.inward.undecodable(error)
            raise
        if opened is not None:
            here.incoming = opened[1]
        if here.reading is Reading.SCHEDULE:
            seen.inward.ripe(task)
        return task

    def dequeue(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.doing
        try:
            if here.dequeue_errors:
                seen.inward.still_failing()
            here.reading = Reading.QUEUE
            task = below.dequeue(*args, **kwargs)
        except Exception as error:
            seen.inward.not_dequeued(error)
            raise
        finally:
            here.reading = None
        if task is not None:
            seen.inward.dequeued(task)
        return task

    def read_schedule(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        try:
            seen.inward.reading_schedule()
            return below.read_schedule(*args, **kwargs)
        except Exception as error:
            seen.runs.failed(e.EVENT_ERROR_INTERNAL, error)
            raise
        finally:
            HERE.doing.reading = None

    def read_periodic(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        seen.inward.checking_periodic()
        try:
            tasks = below.read_periodic(*args, **kwargs)
        except Exception as error:
            seen.runs.failed(e.EVENT_ERROR_INTERNAL, error)
            raise
        seen.inward.due(tasks)
        return tasks

    def execute(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.doing
        caller, outgoing = here.caller, here.outgoing
        depth = len(here.attempts)
        try:
            seen.runs.taken(task)
            here.caller = n.ORIGIN_PIPELINE
            return below.execute(task, *args, **kwargs)
        except BaseException as error:
            seen.runs.escaped(error, depth)
            raise
        finally:
            seen.runs.done(depth)
            here.caller, here.outgoing = caller, outgoing

    def put_result(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        try:
            return below.put_result(*args, **kwargs)
        except Exception as error:
            seen.runs.result_not_stored(error)
            raise

    def notify_interrupted_tasks(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        result = below.notify_interrupted_tasks(*args, **kwargs)
        seen.workers.consumer_stops()
        return result

    def _emit(self, signal: str, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.doing
        caller = here.caller
        try:
            if signal == SIGNAL_ENQUEUED:
                seen.outward.signaled(task)
            else:
                seen.runs.signaled(signal, task)
            here.caller = n.ORIGIN_CALL
            return below._emit(signal, task, *args, **kwargs)
        finally:
            here.caller = caller

    def _run_pre_execute(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        here = HERE.doing
        try:
            here.caller = n.ORIGIN_CALL
            return below._run_pre_execute(task, *args, **kwargs)
        finally:
            here.caller = n.ORIGIN_PIPELINE

    def _run_post_execute(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        if not self._post_execute:
            return below._run_post_execute(task, *args, **kwargs)
        here = HERE.doing
        try:
            here.caller = n.ORIGIN_CALL
            return below._run_post_execute(task, *args, **kwargs)
        finally:
            here.caller = n.ORIGIN_PIPELINE

    def _check_chord(self, cc: Any, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        try:
            seen.outward.member_done(cc)
            return below._check_chord(cc, *args, **kwargs)
        finally:
            HERE.doing.chord = None

    def _requeue_task(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.doing
        caller = here.caller
        try:
            here.caller = n.ORIGIN_RETRY
            result = below._requeue_task(task, *args, **kwargs)
        finally:
            here.caller = caller
        seen.runs.requeued(task)
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
    return list(huey._registry._registry)


def _rebind(huey: Huey) -> None:
    """Renew `huey.contrib.djhuey.enqueue`, a method that was bound at import."""
    djhuey: Any = sys.modules.get(_DJHUEY)
    if djhuey is not None and getattr(djhuey, "HUEY", None) is huey:
        djhuey.enqueue = huey.enqueue
