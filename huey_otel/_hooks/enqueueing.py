"""Enqueues: the mixin of those calls of huey's that write a message."""

from typing import Any

from huey.api import Huey, Task

from huey_otel import _names as n
from huey_otel._hooks.observation import Observation
from huey_otel._safety.forks import look_around
from huey_otel._tasks.context import HERE


class EnqueueingHuey(Huey):
    """The part of ObservedHuey that writes to the queue and to the schedule."""

    _huey_otel: Observation

    def enqueue(self, task: Any, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        if not isinstance(task, Task):
            # A group or chord, which huey takes apart and enqueues one by one.
            return self._enqueue_batch(task, *args, **kwargs)
        # Before HERE is read, which it may replace.
        look_around()
        here = HERE.local.doing
        caller, outgoing = here.caller, here.outgoing
        try:
            seen.enqueue.begins(task)
            here.caller = n.ORIGIN_CALL
            result = below.enqueue(task, *args, **kwargs)
        except BaseException as error:
            seen.execution.not_enqueued(task, error)
            raise
        else:
            seen.execution.enqueued(task)
            return result
        finally:
            mine = here.outgoing
            here.caller, here.outgoing = caller, outgoing
            if mine is not outgoing:
                seen.enqueue.ends(mine)

    def _enqueue_batch(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        begun = seen.enqueue.batch_begins(batch)
        try:
            return below.enqueue(batch, *args, **kwargs)
        except BaseException as error:
            if begun is not None:
                begun.error = error
            raise
        finally:
            seen.enqueue.batch_ends(begun)

    def add_schedule(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.local.doing
        outgoing = here.outgoing
        try:
            seen.enqueue.scheduling(task)
            result = below.add_schedule(task, *args, **kwargs)
        except Exception as error:
            seen.execution.not_scheduled(error)
            raise
        else:
            seen.execution.scheduled(task)
            return result
        finally:
            here.outgoing = outgoing

    def serialize_task(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.local.doing
        try:
            here.trailer = seen.enqueue.trailer(task)
            data = below.serialize_task(task, *args, **kwargs)
            if here.trailer is not None:
                return seen.enqueue.enveloped(data, here.trailer) or data
            return data
        finally:
            here.trailer = None
