"""Enqueues: the hooks of those calls of huey's that write a message.

They are on every task's path: what has no further arguments, which is huey's own way
to call, is passed on without them, and so in half the time.
"""

import sys
from typing import Any

from huey.api import Huey, Task

from huey_otel._hooks.observation import Observation
from huey_otel._safety.forks import look_around
from huey_otel._tasks.context import HERE


def enqueueing(seen: Observation, below: Any) -> type[Huey]:  # noqa: C901 - methods
    """The hooks of a huey whose own class is *below*: they tell *seen*.

    Made for one huey, so that one that runs when it is uninstrumented goes on.
    """

    class EnqueueingHuey(Huey):
        """The part that writes to the queue and to the schedule."""

        def enqueue(self, task: Any, *args: Any, **kwargs: Any) -> Any:
            if not isinstance(task, Task):
                # A group or chord, which huey takes apart and enqueues one by one.
                return EnqueueingHuey._enqueue_batch(self, task, *args, **kwargs)
            # Before HERE is read, which it may replace.
            look_around()
            here = HERE.local.doing
            outer = here.outgoing
            try:
                seen.enqueue.begins(here, task)
                if args or kwargs:
                    return below.enqueue(self, task, *args, **kwargs)
                return below.enqueue(self, task)
            except BaseException as error:
                seen.enqueue.raised(here, task, error)
                raise
            finally:
                mine, here.outgoing = here.outgoing, outer
                if mine is not None and mine is not outer:
                    seen.enqueue.ends(here, mine, immediate=self._immediate)

        def _enqueue_batch(self, batch: Any, *args: Any, **kwargs: Any) -> Any:
            begun = seen.enqueue.batch_begins(batch)
            try:
                return below.enqueue(self, batch, *args, **kwargs)
            except BaseException as error:
                if begun is not None:
                    begun.error = error
                raise
            finally:
                seen.enqueue.batch_ends(begun)

        def add_schedule(self, task: Task, *args: Any, **kwargs: Any) -> Any:
            here = HERE.local.doing
            outgoing = here.outgoing
            try:
                seen.enqueue.scheduling(here, task)
                result = below.add_schedule(self, task, *args, **kwargs)
            except Exception as error:
                seen.execution.not_scheduled(sys._getframe(1), error)
                raise
            else:
                seen.execution.scheduled(here, task)
                return result
            finally:
                here.outgoing = outgoing

        def serialize_task(self, task: Task, *args: Any, **kwargs: Any) -> Any:
            here = HERE.local.doing
            outgoing = here.outgoing
            try:
                if outgoing is not None and outgoing.task is task:
                    here.trailer = outgoing.trailer
                if args or kwargs:
                    data = below.serialize_task(self, task, *args, **kwargs)
                else:
                    data = below.serialize_task(self, task)
                if here.trailer is not None:
                    return seen.enqueue.enveloped(data, here.trailer) or data
                return data
            finally:
                here.trailer = None

    return EnqueueingHuey
