"""Executions: the mixin of those calls of huey's that read a message and run it."""

from typing import Any

from huey.api import Huey, Task
from huey.signals import SIGNAL_ENQUEUED

from huey_otel import _names as n
from huey_otel import events as e
from huey_otel._hooks import consumer as consumers
from huey_otel._hooks.observation import Observation
from huey_otel._tasks.context import HERE
from huey_otel._tasks.dequeue import Reading


class ExecutingHuey(Huey):
    """The part of ObservedHuey that reads queue and schedule, and runs tasks."""

    _huey_otel: Observation

    def deserialize_task(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.local.doing
        here.incoming = None
        opened = seen.dequeue.opened(data) if seen.enveloped else None
        if opened is not None:
            data = opened[0]
        try:
            task = below.deserialize_task(data, *args, **kwargs)
        except Exception as error:
            seen.dequeue.undecodable(error)
            raise
        if opened is not None:
            here.incoming = opened[1]
        if here.reading is Reading.SCHEDULE:
            seen.dequeue.ripe(task)
        return task

    def dequeue(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.local.doing
        if seen.alone:
            consumers.find(self)
        if len(here.attempts) > here.depth:
            seen.execution.ends(here.depth)
        try:
            if here.dequeue_errors:
                seen.dequeue.report_when_due()
            here.reading = Reading.QUEUE
            task = below.dequeue(*args, **kwargs)
        except Exception as error:
            seen.dequeue.failed(error)
            raise
        finally:
            here.reading = None
        if task is not None:
            seen.dequeue.dequeued(task)
        return task

    def read_schedule(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        try:
            seen.dequeue.reading_schedule()
            return below.read_schedule(*args, **kwargs)
        except Exception as error:
            seen.execution.failed(e.EVENT_ERROR_INTERNAL, error)
            raise
        finally:
            HERE.local.doing.reading = None

    def read_periodic(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        seen.dequeue.checking_periodic()
        try:
            tasks = below.read_periodic(*args, **kwargs)
        except Exception as error:
            seen.execution.failed(e.EVENT_ERROR_INTERNAL, error)
            raise
        seen.dequeue.due(tasks)
        return tasks

    def execute(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.local.doing
        caller, outgoing, depth = here.caller, here.outgoing, here.depth
        try:
            seen.execution.begins(task)
            here.caller = n.ORIGIN_PIPELINE
            return below.execute(task, *args, **kwargs)
        except BaseException as error:
            seen.execution.escaped(error, depth)
            raise
        finally:
            here.caller, here.outgoing, here.depth = caller, outgoing, depth
            seen.execution.ends(depth)

    def put_result(self, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        try:
            return below.put_result(*args, **kwargs)
        except Exception as error:
            seen.execution.result_not_stored(error)
            raise

    def _emit(self, signal: str, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.local.doing
        caller = here.caller
        try:
            if signal == SIGNAL_ENQUEUED:
                seen.enqueue.signaled(task)
            else:
                seen.execution.signaled(signal, task)
            here.caller = n.ORIGIN_CALL
            return below._emit(signal, task, *args, **kwargs)
        finally:
            here.caller = caller

    def _run_pre_execute(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        here = HERE.local.doing
        try:
            here.caller = n.ORIGIN_CALL
            return below._run_pre_execute(task, *args, **kwargs)
        finally:
            here.caller = n.ORIGIN_PIPELINE

    def _run_post_execute(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        here = HERE.local.doing
        try:
            here.caller = n.ORIGIN_CALL
            return below._run_post_execute(task, *args, **kwargs)
        finally:
            here.caller = n.ORIGIN_PIPELINE

    def _check_chord(self, cc: Any, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        try:
            seen.enqueue.member_done(cc)
            return below._check_chord(cc, *args, **kwargs)
        finally:
            HERE.local.doing.chord = None

    def _requeue_task(self, task: Task, *args: Any, **kwargs: Any) -> Any:
        below: Any = super()
        seen = self._huey_otel
        here = HERE.local.doing
        caller = here.caller
        try:
            here.caller = n.ORIGIN_RETRY
            result = below._requeue_task(task, *args, **kwargs)
        finally:
            here.caller = caller
        seen.execution.requeued(task)
        return result
