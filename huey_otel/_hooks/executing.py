"""Executions: the hooks of those calls of huey's that read a message and run it."""

import sys
from time import monotonic
from typing import Any

from huey.api import Huey, Task

from huey_otel import events as e
from huey_otel._hooks import consumer as consumers
from huey_otel._hooks.observation import Observation
from huey_otel._tasks.context import HERE
from huey_otel._tasks.dequeue import Reading
from huey_otel._tasks.signs import EMPTY, GOT, LOOKED
from huey_otel._wire.carrier import LONGEST


def executing(seen: Observation, below: Any) -> type[Huey]:  # noqa: C901 - methods
    """The hooks of a huey whose own class is *below*, as in `enqueueing`."""
    receivers = seen.receivers

    class ExecutingHuey(Huey):
        """The part that reads queue and schedule, and runs tasks."""

        def deserialize_task(self, data: Any, *args: Any, **kwargs: Any) -> Any:
            here = HERE.local.doing
            here.incoming = None
            message = seen.dequeue.unwrapped(data) if seen.enveloped else None
            try:
                if message is not None:
                    task = below.deserialize_task(self, message, *args, **kwargs)
                    here.incoming = data[-LONGEST:]
                elif args or kwargs:
                    task = below.deserialize_task(self, data, *args, **kwargs)
                else:
                    task = below.deserialize_task(self, data)
            except Exception as error:
                seen.dequeue.undecodable(error)
                raise
            if here.reading is Reading.SCHEDULE:
                seen.dequeue.ripe(task)
            return task

        def dequeue(self, *args: Any, **kwargs: Any) -> Any:
            here = HERE.local.doing
            if seen.alone:
                consumers.find(self, seen)
            if len(here.attempts) > here.depth:
                seen.execution.ends(here, here.depth)
            task, signs = None, here.signs
            signs[LOOKED] = looked = monotonic()
            try:
                if here.dequeue_errors:
                    seen.dequeue.report_when_due()
                here.reading = Reading.QUEUE
                if args or kwargs:
                    task = below.dequeue(self, *args, **kwargs)
                else:
                    task = below.dequeue(self)
            except Exception as error:
                seen.dequeue.failed(error)
                raise
            finally:
                here.reading = None
                if task is None and not here.depth:
                    signs[EMPTY] = monotonic()
                else:
                    # Until it starts. A task that calls dequeue goes on in any case.
                    signs[GOT] = looked
            if task is not None:
                seen.dequeue.dequeued(here, task)
            return task

        def read_schedule(self, *args: Any, **kwargs: Any) -> Any:
            try:
                seen.dequeue.reading_schedule()
                return below.read_schedule(self, *args, **kwargs)
            except Exception as error:
                seen.execution.failed(e.EVENT_ERROR_INTERNAL, error)
                raise
            finally:
                HERE.local.doing.reading = None

        def read_periodic(self, *args: Any, **kwargs: Any) -> Any:
            seen.dequeue.checking_periodic()
            try:
                tasks = below.read_periodic(self, *args, **kwargs)
            except Exception as error:
                seen.execution.failed(e.EVENT_ERROR_INTERNAL, error)
                raise
            seen.dequeue.due(tasks)
            return tasks

        def execute(self, task: Task, *args: Any, **kwargs: Any) -> Any:
            here = HERE.local.doing
            outgoing, depth = here.outgoing, here.depth
            try:
                seen.execution.begins(here, task)
                if args or kwargs:
                    return below.execute(self, task, *args, **kwargs)
                return below.execute(self, task)
            except BaseException as error:
                seen.execution.escaped(here, error, depth)
                raise
            finally:
                here.outgoing, here.depth = outgoing, depth
                seen.execution.ends(here, depth)

        def put_result(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return below.put_result(self, *args, **kwargs)
            except Exception as error:
                seen.execution.result_not_stored(sys._getframe(1), error)
                raise

        def _emit(self, signal: str, task: Task, *args: Any, **kwargs: Any) -> Any:
            receive = receivers.get(signal)
            if receive is not None:
                receive(HERE.local.doing, task)
            if args or kwargs:
                return below._emit(self, signal, task, *args, **kwargs)
            return below._emit(self, signal, task)

        def _check_chord(self, cc: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                seen.enqueue.member_done(cc)
                return below._check_chord(self, cc, *args, **kwargs)
            finally:
                HERE.local.doing.chord = None

        def _requeue_task(self, task: Task, *args: Any, **kwargs: Any) -> Any:
            here = HERE.local.doing
            outer = here.requeued
            try:
                here.requeued = task
                result = below._requeue_task(self, task, *args, **kwargs)
            finally:
                here.requeued = outer
            seen.execution.requeued(here, task)
            return result

    return ExecutingHuey
