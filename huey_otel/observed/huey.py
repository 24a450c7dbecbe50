"""The huey's mixin: the calls of huey's in which a task's life can be seen."""

import sys
from typing import Any, Final

from huey.api import Huey, Task
from huey.signals import SIGNAL_ENQUEUED

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel._attempts import HERE, Bodies
from huey_otel.observed.naming import put_back, swap
from huey_otel.observed.observation import Observation

_DJHUEY: Final = "huey.contrib.djhuey"


class ObservedHuey(Huey):
    """Wraps huey's public methods, and only calls `super()` in between.

    HERE.caller is put back by every method that changes it, also when a
    task's timeout comes in between; what is set at the begin and the end of a
    body is absolute, so nothing that was missed outlasts the attempt.
    """

    # Read once by each method: an uninstrument() may come while it runs.
    _huey_otel: Observation

    def create_storage(self) -> Any:
        seen = self._huey_otel
        storage = super().create_storage()
        seen.storage_made(storage)
        return storage

    def create_consumer(self, **options: Any) -> Any:
        seen = self._huey_otel
        consumer = super().create_consumer(**options)
        seen.consumer_made(consumer)
        return consumer

    def enqueue(self, task: Any) -> Any:
        seen = self._huey_otel
        if not isinstance(task, Task):
            # A group or chord, which huey takes apart and enqueues one by one.
            return self._enqueue_batch(task)
        caller, outgoing = HERE.caller, HERE.outgoing
        try:
            seen.outward.enqueueing(task)
            HERE.caller = n.ORIGIN_CALL
            result = super().enqueue(task)
        except BaseException as error:
            seen.runs.not_enqueued(task, error)
            raise
        else:
            seen.runs.enqueued(task)
            return result
        finally:
            mine = HERE.outgoing
            HERE.caller, HERE.outgoing = caller, outgoing
            if mine is not outgoing:
                seen.outward.left(mine)

    def _enqueue_batch(self, batch: Any) -> Any:
        seen = self._huey_otel
        begun = seen.outward.batch(batch)
        error: BaseException | None = None
        try:
            return super().enqueue(batch)
        except BaseException as raised:
            error = raised
            raise
        finally:
            seen.outward.batch_left(begun, error)

    def add_schedule(self, task: Task) -> None:
        seen = self._huey_otel
        outgoing = HERE.outgoing
        try:
            seen.outward.scheduling(task)
            super().add_schedule(task)
        except Exception as error:
            seen.runs.not_scheduled(error)
            raise
        else:
            seen.runs.scheduled(task)
        finally:
            HERE.outgoing = outgoing

    def serialize_task(self, task: Task) -> Any:
        seen = self._huey_otel
        try:
            HERE.trailer = seen.outward.trailer(task)
            return super().serialize_task(task)
        finally:
            HERE.trailer = None

    def deserialize_task(self, data: Any) -> Any:
        seen = self._huey_otel
        HERE.incoming = None
        try:
            task = super().deserialize_task(data)
        except Exception as error:
            seen.inward.undecodable(error)
            raise
        seen.inward.decoded(task)
        return task

    def dequeue(self) -> Any:
        seen = self._huey_otel
        try:
            seen.inward.reading_queue()
            task = super().dequeue()
        except Exception as error:
            seen.inward.not_dequeued(error)
            raise
        finally:
            HERE.reading = None
        if task is not None:
            seen.inward.dequeued(task)
        return task

    def read_schedule(self, timestamp: Any = None) -> Any:
        seen = self._huey_otel
        try:
            seen.inward.reading_schedule()
            return super().read_schedule(timestamp)
        except Exception as error:
            seen.runs.failed(e.EVENT_ERROR_INTERNAL, error)
            raise
        finally:
            HERE.reading = None

    def read_periodic(self, timestamp: Any) -> Any:
        seen = self._huey_otel
        seen.inward.checking_periodic()
        try:
            tasks = super().read_periodic(timestamp)
        except Exception as error:
            seen.runs.failed(e.EVENT_ERROR_INTERNAL, error)
            raise
        seen.inward.due(tasks)
        return tasks

    def execute(self, task: Task, timestamp: Any = None) -> Any:
        seen = self._huey_otel
        caller, outgoing = HERE.caller, HERE.outgoing
        depth = len(HERE.attempts)
        try:
            seen.runs.taken(task)
            HERE.caller = n.ORIGIN_PIPELINE
            return super().execute(task, timestamp)
        except BaseException as error:
            seen.runs.escaped(error, depth)
            raise
        finally:
            seen.runs.done(depth)
            HERE.caller, HERE.outgoing = caller, outgoing

    def put_result(self, key: str, data: Any) -> Any:
        seen = self._huey_otel
        try:
            return super().put_result(key, data)
        except Exception as error:
            seen.runs.result_not_stored(error)
            raise

    def notify_interrupted_tasks(self) -> None:
        seen = self._huey_otel
        super().notify_interrupted_tasks()
        seen.workers.consumer_stops()

    def _emit(self, signal: str, task: Task, *args: Any, **kwargs: Any) -> None:
        seen = self._huey_otel
        caller = HERE.caller
        try:
            if signal == SIGNAL_ENQUEUED:
                seen.outward.signaled(task)
            else:
                seen.runs.signaled(signal, task)
            HERE.caller = n.ORIGIN_CALL
            super()._emit(signal, task, *args, **kwargs)
        finally:
            HERE.caller = caller

    def _run_pre_execute(self, task: Task) -> None:
        try:
            HERE.caller = n.ORIGIN_CALL
            super()._run_pre_execute(task)
        finally:
            HERE.caller = n.ORIGIN_PIPELINE

    def _run_post_execute(self, task: Task, *args: Any) -> None:
        try:
            HERE.caller = n.ORIGIN_CALL
            super()._run_post_execute(task, *args)
        finally:
            HERE.caller = n.ORIGIN_PIPELINE

    def _requeue_task(self, task: Task, *args: Any, **kwargs: Any) -> None:
        seen = self._huey_otel
        caller = HERE.caller
        try:
            HERE.caller = n.ORIGIN_RETRY
            super()._requeue_task(task, *args, **kwargs)
        finally:
            HERE.caller = caller
        seen.runs.requeued(task)


def observe(huey: Huey, observation: Observation) -> None:
    """Swap *huey*'s class, so that *observation* sees what it does."""
    instrumented: Any = huey
    instrumented._huey_otel = observation
    huey._tasks_in_flight = Bodies(huey._tasks_in_flight)
    swap(huey, ObservedHuey)
    _rebind(huey)


def release(huey: Huey) -> None:
    """Put *huey*'s own class back."""
    put_back(huey)
    huey._tasks_in_flight = set(huey._tasks_in_flight)
    _rebind(huey)


def observation_of(huey: Huey) -> Observation | None:
    """What sees *huey*, None if nothing does."""
    return huey._huey_otel if isinstance(huey, ObservedHuey) else None


def _rebind(huey: Huey) -> None:
    """Renew `huey.contrib.djhuey.enqueue`, a method that was bound at import."""
    djhuey: Any = sys.modules.get(_DJHUEY)
    if djhuey is not None and getattr(djhuey, "HUEY", None) is huey:
        djhuey.enqueue = huey.enqueue
